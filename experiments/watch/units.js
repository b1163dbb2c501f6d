// Units and what is written over them.
const STATUS_ICONS = { // path in a box from -1 to 1
  stun: "M.1-.8L-.5 .15H.05L-.15 .8L.5-.2H-.05Z", slow: "M-.6-.5L0-.05L.6-.5M-.6 .2L0 .65L.6 .2",
  taunt: "M0-.75V.2M0 .65V.7", guard: "M0-.7L.55-.48V.05C.55 .4 .3 .6 0 .75C-.3 .6-.55 .4-.55 .05V-.48Z", power: "M0 .7V-.6M-.5-.1L0-.65L.5-.1",
};

function drawFallen(unit, place, at, ms) {
  const died = DEATHS.find((e) => e.target === unit && e.ms <= ms);
  const s = view.scale, r = 0.24 * s, age = died ? ms - died.ms : 9999;
  pen.strokeStyle = teamInk(unit); pen.lineCap = "round"; pen.lineWidth = 0.12 * s; pen.globalAlpha = 0.55;
  pen.beginPath(); pen.moveTo(place.X - r, place.Y - r); pen.lineTo(place.X + r, place.Y + r); pen.moveTo(place.X + r, place.Y - r); pen.lineTo(place.X - r, place.Y + r); pen.stroke();
  if (age < 700) {
    pen.globalAlpha = 1 - age / 700; pen.lineWidth = 0.08 * s;
    pen.beginPath(); pen.arc(place.X, place.Y, s * (0.45 + age / 500), 0, 7); pen.stroke();
  }
  pen.globalAlpha = 1; pen.lineCap = "butt";
}

function tokenPath(unit, place, r) {
  pen.beginPath();
  if (F.units[unit].team === 0) pen.arc(place.X, place.Y, r, 0, 2 * Math.PI);
  else pen.roundRect(place.X - 0.92 * r, place.Y - 0.92 * r, 1.84 * r, 1.84 * r, 0.34 * r);
}

function drawUnit(unit, place, at, ms, selected) {
  const s = view.scale, r = 0.4 * s, { k } = at;
  pen.fillStyle = ink.shadow;
  pen.beginPath(); pen.ellipse(place.X, place.Y + 0.36 * s, 0.4 * s, 0.16 * s, 0, 0, 7); pen.fill();
  if (selected) {
    pen.strokeStyle = ink.ink; pen.lineWidth = 2; tokenPath(unit, place, r + 0.09 * s); pen.stroke();
  }
  if (has(unit, k, "shield")) {
    pen.strokeStyle = ink.block; pen.lineWidth = 0.07 * s; pen.globalAlpha = 0.9;
    pen.beginPath(); pen.arc(place.X, place.Y, r + 0.17 * s, 0, 2 * Math.PI); pen.stroke(); pen.globalAlpha = 1;
  }
  tokenPath(unit, place, r); pen.fillStyle = teamInk(unit); pen.fill();
  pen.strokeStyle = ink.halo; pen.lineWidth = Math.max(1.5, 0.045 * s); pen.stroke();
  const hit = HITS.find((e) => e.target === unit && ms >= e.ms && ms < e.ms + 130);
  if (hit) { pen.globalAlpha = 0.75 * (1 - (ms - hit.ms) / 130); pen.fillStyle = "#fff"; pen.fill(); pen.globalAlpha = 1; }
  const filled = glyphOf(unit)[1], size = 0.23 * s;
  pen.save(); pen.translate(place.X, place.Y); pen.scale(size, size);
  pen.strokeStyle = pen.fillStyle = ink.tokenInk; pen.lineWidth = 0.3; pen.lineCap = pen.lineJoin = "round";
  if (filled) pen.fill(PATHS[unit]); else pen.stroke(PATHS[unit]);
  pen.restore();
  if (F.units[unit].learner) { // a small crown marks whom a mind plays
    const y = place.Y - r - 0.02 * s, w = 0.17 * s;
    pen.fillStyle = ink.ink; pen.strokeStyle = ink.halo; pen.lineWidth = 2; pen.beginPath();
    pen.moveTo(place.X - w, y); pen.lineTo(place.X - w, y - 0.17 * s); pen.lineTo(place.X - w / 2.2, y - 0.08 * s); pen.lineTo(place.X, y - 0.2 * s);
    pen.lineTo(place.X + w / 2.2, y - 0.08 * s); pen.lineTo(place.X + w, y - 0.17 * s); pen.lineTo(place.X + w, y); pen.closePath(); pen.stroke(); pen.fill();
  }
}

function bar(x, y, width, height, share, colour, ghost = 0) {
  pen.fillStyle = ink.hpBack; pen.beginPath(); pen.roundRect(x - width / 2 - 1, y - 1, width + 2, height + 2, 2.5); pen.fill();
  if (ghost > share) { pen.fillStyle = "#ffffffb0"; pen.fillRect(x - width / 2, y, width * ghost, height); }
  pen.fillStyle = colour; pen.fillRect(x - width / 2, y, width * clamp(share, 0, 1), height);
}

function drawBars(unit, place, at, ms) {
  const s = view.scale, u = F.units[unit], width = 0.94 * s, high = clamp(0.12 * s, 4, 9);
  const top = place.Y - 0.5 * s - high - (u.learner ? 0.2 * s : 0.06 * s) - clamp(0.05 * s, 2, 4);
  bar(place.X, top, width, high, hpShare(unit, at), teamInk(unit), hpShare(unit, stateAt(Math.max(0, ms - 500))));
  if (u.sp) bar(place.X, top + high + 1, width, clamp(0.05 * s, 2, 4), between("sp", unit, at) / u.sp, ink.sp);
  const active = Object.keys(STATUS_ICONS).filter((name) => has(unit, at.k, name)), edge = clamp(0.36 * s, 13, 22);
  active.forEach((name, i) => {
    const x = place.X + (i - (active.length - 1) / 2) * (edge + 2), y = top - edge / 2 - 3;
    pen.fillStyle = ink.ink; pen.beginPath(); pen.roundRect(x - edge / 2, y - edge / 2, edge, edge, 4); pen.fill();
    pen.save(); pen.translate(x, y); pen.scale(edge * 0.4, edge * 0.4);
    pen.strokeStyle = pen.fillStyle = ink.paper; pen.lineWidth = 0.34; pen.lineCap = pen.lineJoin = "round";
    const path = new Path2D(STATUS_ICONS[name]);
    if (name === "stun" || name === "guard") pen.fill(path); else pen.stroke(path);
    pen.restore();
  });
  const slot = F.series.cast[unit][at.k];
  if (slot) {
    const skill = u.skills[slot - 1], left = F.series.cast_left[unit][at.k] - at.share * F.decision_ms;
    const y = place.Y + 0.5 * s;
    bar(place.X, y, width, clamp(0.09 * s, 3, 6), 1 - left / Math.max(1, skill.cast_ms), ink.cast);
    write(skill.name, place.X, y + clamp(0.09 * s, 3, 6) + 9, clamp(0.25 * s, 10, 14), ink.ink, 600);
  }
}

function write(text, x, y, size, colour, weight = 700) {
  pen.font = `${weight} ${size}px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif`;
  pen.textAlign = "center"; pen.textBaseline = "middle"; pen.lineJoin = "round";
  pen.strokeStyle = ink.halo; pen.lineWidth = size * 0.28; pen.strokeText(text, x, y);
  pen.fillStyle = colour; pen.fillText(text, x, y);
}

function drawFloat(e, places, ms) {
  const age = (ms - e.ms) / 950;
  if (age < 0 || age > 1) return;
  const s = view.scale, place = places[e.target], share = e.amount / F.units[e.target].hp;
  const side = [0, 0.55, -0.55][e.row], x = place.X + side * s, y = place.Y - s * (0.62 + 0.75 * (1 - (1 - age) ** 2));
  const kinds = {
    hit: [String(e.amount), ink.hurt], heal: [`+${e.amount}`, ink.heal], miss: ["miss", ink.miss],
    block: [`(${e.amount})`, ink.block], broken: ["broken", ink.miss],
  };
  const [text, colour] = kinds[e.kind];
  const size = clamp(0.3 * s, 11, 18) * (e.kind === "hit" ? 1 + clamp(share * 2.2, 0, 0.7) : 0.95);
  const pop = age < 0.12 ? 0.7 + 2.5 * age : 1;
  pen.globalAlpha = age > 0.65 ? (1 - age) / 0.35 : 1; write(text, x, y, size * pop, colour); pen.globalAlpha = 1;
}

// The name of a skill without a cast; one with a cast is named under its bar.
function drawCallout(e, places, ms) {
  const age = (ms - e.ms) / 800;
  if (!e.skill || e.skill.cast_ms || age < 0 || age > 1) return;
  const s = view.scale, place = places[e.source];
  pen.globalAlpha = age > 0.6 ? (1 - age) / 0.4 : 1;
  write(e.skill.name, place.X, place.Y + 0.72 * s, clamp(0.25 * s, 10, 14), ink.ink, 600); pen.globalAlpha = 1;
}
