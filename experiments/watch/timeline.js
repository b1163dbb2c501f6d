// Hit points of both teams over time, with a cross for each death; dragging on it moves through the fight.
const track = document.getElementById("track");
const chart = document.getElementById("timeline");
const tip = document.getElementById("tip");
const SHARES = [0, 1].map((team) => F.ticks.map((_, k) => teamShare(team, { k, share: 0 })));
const EDGE = 9; // room for the playhead's handle at both ends
const trackX = (ms) => EDGE + (END ? ms / END : 0) * (chart.clientWidth - 2 * EDGE);
const trackMs = (x) => clamp((x - EDGE) / Math.max(1, chart.clientWidth - 2 * EDGE), 0, 1) * END;

function drawTimeline(ms) {
  const ratio = window.devicePixelRatio || 1, width = chart.clientWidth, height = chart.clientHeight;
  if (chart.width !== Math.round(width * ratio) || chart.height !== Math.round(height * ratio)) {
    chart.width = Math.round(width * ratio); chart.height = Math.round(height * ratio);
  }
  const c = chart.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0); c.clearRect(0, 0, width, height);
  const top = 15, bottom = height - 15, y = (share) => bottom - share * (bottom - top);
  c.font = "11px system-ui, sans-serif"; c.textBaseline = "alphabetic"; c.lineWidth = 1;
  const step = [5, 10, 15, 20, 30, 60, 120].find((s) => (s * 1000 / Math.max(1, END)) * width > 62) || 300;
  for (let s = 0; s * 1000 <= END; s += step) {
    const x = trackX(s * 1000);
    c.strokeStyle = ink.rule; c.beginPath(); c.moveTo(x, top - 4); c.lineTo(x, bottom); c.stroke();
    c.fillStyle = ink.faint; c.textAlign = "center"; c.fillText(`${s} s`, clamp(x, 12, width - 16), height - 2);
  }
  c.strokeStyle = ink.rule; c.beginPath(); c.moveTo(EDGE, bottom + 0.5); c.lineTo(width - EDGE, bottom + 0.5); c.stroke();
  for (const team of [1, 0]) {
    c.beginPath();
    SHARES[team].forEach((share, k) => (k ? c.lineTo(trackX(msAt(k)), y(share)) : c.moveTo(trackX(0), y(share))));
    c.strokeStyle = ink.team[team]; c.lineWidth = 2; c.lineJoin = "round"; c.setLineDash(team ? [6, 3] : []); c.stroke(); c.setLineDash([]);
    c.lineTo(trackX(END), bottom); c.lineTo(trackX(0), bottom); c.closePath();
    c.globalAlpha = 0.1; c.fillStyle = ink.team[team]; c.fill(); c.globalAlpha = 1;
  }
  for (const death of DEATHS) {
    const team = F.units[death.target].team, x = trackX(death.ms), cy = 7, r = 3.6;
    c.strokeStyle = ink.team[team]; c.lineWidth = 1; c.globalAlpha = 0.55; c.beginPath(); c.moveTo(x, cy + 6); c.lineTo(x, bottom); c.stroke(); c.globalAlpha = 1;
    c.lineWidth = 2.4; c.lineCap = "round"; c.beginPath(); c.moveTo(x - r, cy - r); c.lineTo(x + r, cy + r); c.moveTo(x + r, cy - r); c.lineTo(x - r, cy + r); c.stroke(); c.lineCap = "butt";
  }
  const x = trackX(ms);
  c.fillStyle = ink.paper; c.globalAlpha = 0.55; c.fillRect(x, 0, width - x, bottom); c.globalAlpha = 1;
  c.strokeStyle = ink.ink; c.lineWidth = 2; c.beginPath(); c.moveTo(x, 2); c.lineTo(x, bottom + 1); c.stroke();
  c.fillStyle = ink.ink; c.beginPath(); c.arc(x, bottom + 0.5, 5.5, 0, 7); c.fill();
}

function bindTimeline(seek) {
  let dragging = false;
  const at = (event) => trackMs(event.clientX - chart.getBoundingClientRect().left);
  track.addEventListener("pointerdown", (event) => { dragging = true; track.setPointerCapture(event.pointerId); seek(at(event)); });
  track.addEventListener("pointerup", () => { dragging = false; });
  track.addEventListener("pointercancel", () => { dragging = false; });
  track.addEventListener("pointerleave", () => { tip.hidden = true; });
  track.addEventListener("pointermove", (event) => {
    const ms = at(event);
    if (dragging) seek(ms);
    const near = DEATHS.find((e) => Math.abs(trackX(e.ms) - trackX(ms)) < 6);
    const share = [0, 1].map((team) => `${Math.round(100 * teamShare(team, stateAt(ms)))} %`).join(" : ");
    tip.textContent = near ? deathWords(near) : `${(ms / 1000).toFixed(1)} s, HP ${share}`;
    tip.hidden = false; tip.style.left = `${clamp(trackX(ms), 60, chart.clientWidth - 60)}px`;
  });
}
const deathWords = (e) => `${fullName(e.target)} killed${e.source >= 0 ? ` by ${fullName(e.source)}` : ""}, ${(e.ms / 1000).toFixed(1)} s`;
