// Time, buttons and keys.
const $ = (id) => document.getElementById(id);
const ICONS = {
  play: "M7 4.5v15l12-7.5z", pause: "M7 5h3.6v14H7zM13.4 5H17v14h-3.6z", next: "M6 5l9 7-9 7zM16 5h2.6v14H16z",
  back: "M18 5l-9 7 9 7zM5.4 5H8v14H5.4z", start: "M19 5l-7 7 7 7zM12 5l-7 7 7 7z", end: "M5 5l7 7-7 7zM12 5l7 7-7 7z",
  light: "M12 7a5 5 0 1 0 0 10a5 5 0 0 0 0-10zM11 1h2v4h-2zM11 19h2v4h-2zM1 11h4v2H1zM19 11h4v2h-4zM4 5.4L5.4 4l2.8 2.8-1.4 1.4zM15.8 17.2l1.4-1.4L20 18.6 18.6 20zM4 18.6l2.8-2.8 1.4 1.4L5.4 20zM15.8 6.8L18.6 4 20 5.4l-2.8 2.8z",
  dark: "M20.5 14.5A9 9 0 0 1 9.5 3.5a9 9 0 1 0 11 11z",
};
const icon = (name) => `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];
const wish = Object.fromEntries(new URLSearchParams(location.hash.slice(1))); // such as #t=12.4&play=0&theme=dark
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const now = {
  ms: clamp(Number(wish.t || 0) * 1000 || 0, 0, END),
  playing: wish.play ? wish.play === "1" : !still && !wish.t,
  speed: SPEEDS.includes(Number(wish.speed)) ? Number(wish.speed) : 1,
  selected: F.units[Number(wish.select || 0)] ? Number(wish.select || 0) : 0,
  whole: wish.camera === "whole",
};
let shownState = -1, places = [], last = null, stale = true;

function readTheme() {
  const css = getComputedStyle(document.documentElement), get = (name) => css.getPropertyValue(`--${name}`).trim();
  const names = { ink: "ink", paper: "paper", rule: "rule", faint: "faint", floor: "floor", tile: "tile", grid: "grid", void: "void", wall: "wall", wallTop: "wall-top", halo: "halo", tokenInk: "token-ink", hurt: "hurt", heal: "heal", miss: "miss", block: "block", hpBack: "hp-back", sp: "sp", cast: "cast", shadow: "shadow" };
  ink = { team: [get("team0"), get("team1")] };
  for (const [key, name] of Object.entries(names)) ink[key] = get(name);
  stale = true;
}
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").innerHTML = icon(theme === "dark" ? "light" : "dark");
  readTheme();
}

const RESULT = { 1: ["Blue wins", 0], 2: ["Blue wins on time", 0], "-1": ["Orange wins", 1], "-2": ["Orange wins on time", 1], 3: ["A draw", null], 0: ["Cut before the end", null] };
function buildPage() {
  const [result, winner] = RESULT[F.outcome], seconds = (END / 1000).toFixed(1);
  const known = Object.entries(F.about).filter(([key]) => key !== "value" && key !== "probabilities").map(([key, value]) => `${words(key)}: ${value}`);
  $("about").textContent = [...known, `seed ${F.seed}${F.fight || F.episode ? `, fight ${F.fight}, episode ${F.episode}` : ""}`].join("  ·  ");
  $("about").title = $("about").textContent;
  $("result").textContent = `${result} after ${seconds} s`;
  if (winner !== null) $("result").dataset.team = winner;
  $("banner").firstChild.textContent = winner === null ? result : `${result} with ${percent(SHARES[winner][STATES - 1])} HP left`;
  if (!F.genuine) {
    $("warning").textContent = "The rules have changed since this fight was recorded: this is how it goes now, not how it went.";
    $("warning").hidden = false;
  }
  for (const side of document.querySelectorAll("#hud .side")) {
    const team = Number(side.dataset.team), roster = side.querySelector(".roster");
    roster.classList.toggle("crowd", HALF > 2); roster.classList.toggle("tight", HALF > 3);
    roster.innerHTML = F.units.map((u, i) => (u.team === team ? `<button class="chip" data-unit="${i}" data-team="${team}" title="${h(fullName(i))}">${glyphSvg(i)}<span>${h(unitName(i))}</span><em><u></u></em></button>` : "")).join("");
  }
  for (const name of ["start", "back", "next", "end"]) $(name).innerHTML = icon(name);
  $("speeds").innerHTML = SPEEDS.map((s) => `<button role="radio" data-speed="${s}">${s}×</button>`).join("");
  const keys = [["Space", "play, pause"], ["← →", "one decision (0.2 s)"], ["Shift ← →", "two seconds"], ["Home, End", "start, end"], ["+ −", "faster, slower"], ["1 … 9, 0", "select a unit"], ["F", "follow, or whole arena"], ["T", "light, dark"], ["?", "these keys"]];
  $("help").innerHTML = `<h2>Keys</h2><dl>${keys.map(([k, what]) => `<dt>${k}</dt><dd>${what}</dd>`).join("")}</dl><p class="note">Circles are blue, squares are orange; a crown marks the monster that a mind plays. Ranges are squares because a diagonal step counts as one.</p>`;
  track.setAttribute("aria-valuemax", (END / 1000).toFixed(1));
}

function showControls() {
  $("play").innerHTML = icon(now.playing ? "pause" : "play"); $("play").setAttribute("aria-label", now.playing ? "Pause" : "Play");
  for (const button of $("speeds").children) button.setAttribute("aria-checked", String(Number(button.dataset.speed) === now.speed));
  $("camera").textContent = now.whole ? "Follow the fight" : "Whole arena";
  for (const chip of document.querySelectorAll(".chip")) chip.setAttribute("aria-pressed", String(Number(chip.dataset.unit) === now.selected));
}

function showTime() {
  const at = stateAt(now.ms), ghost = stateAt(Math.max(0, now.ms - 500));
  for (const side of document.querySelectorAll("#hud .side")) {
    const team = Number(side.dataset.team);
    side.querySelector(".bar b").style.transform = `scaleX(${teamShare(team, at)})`;
    side.querySelector(".bar i").style.transform = `scaleX(${teamShare(team, ghost)})`;
  }
  for (const chip of document.querySelectorAll(".chip")) {
    const unit = Number(chip.dataset.unit);
    chip.querySelector("u").style.transform = `scaleX(${hpShare(unit, at)})`; chip.classList.toggle("dead", !alive(unit, at.k));
  }
  $("clock").textContent = (now.ms / 1000).toFixed(1);
  $("when").innerHTML = `<b>${(now.ms / 1000).toFixed(1)} s</b><span> of ${(END / 1000).toFixed(1)} s</span>`;
  $("banner").hidden = now.ms < END || END === 0;
  track.setAttribute("aria-valuenow", (now.ms / 1000).toFixed(1)); track.setAttribute("aria-valuetext", `${(now.ms / 1000).toFixed(1)} seconds`);
  if (at.k !== shownState) { shownState = at.k; drawPanels(at.k, now.selected); }
}

function draw() {
  places = drawArena(now.ms, now);
  drawTimeline(now.ms); showTime(); stale = false;
}
function frame(time) {
  if (now.playing) {
    now.ms = Math.min(END, now.ms + Math.min(100, time - (last ?? time)) * now.speed); stale = true;
    if (now.ms >= END) { now.playing = false; showControls(); }
  }
  last = time;
  if (stale) draw();
  requestAnimationFrame(frame);
}

function seek(ms) { now.ms = clamp(ms, 0, END); stale = true; }
function step(states) { play(false); seek(msAt(clamp(stateAt(now.ms).k + (states < 0 && stateAt(now.ms).share > 0 ? states + 1 : states), 0, STATES - 1))); }
function play(on) { if (on && now.ms >= END) now.ms = 0; now.playing = on; stale = true; showControls(); }
function setSpeed(speed) { now.speed = speed; showControls(); }
function select(unit) {
  if (!F.units[unit]) return;
  now.selected = unit; shownState = -1; stale = true;
  const mind = F.learners.findIndex((L) => L.unit === unit);
  if (mind >= 0) learner = mind;
  showControls();
}
function toggleCamera() { now.whole = !now.whole; stale = true; showControls(); }
function toggleTheme() { setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); }
function toggleHelp() { $("help").hidden = !$("help").hidden; $("keys").setAttribute("aria-expanded", String(!$("help").hidden)); }

function bindControls() {
  $("play").onclick = () => play(!now.playing); $("again").onclick = () => { seek(0); play(true); };
  $("start").onclick = () => seek(0); $("end").onclick = () => { play(false); seek(END); };
  $("back").onclick = () => step(-1); $("next").onclick = () => step(1);
  $("camera").onclick = toggleCamera; $("theme").onclick = toggleTheme; $("keys").onclick = toggleHelp;
  $("speeds").onclick = (event) => event.target.dataset.speed && setSpeed(Number(event.target.dataset.speed));
  $("hud").onclick = (event) => { const chip = event.target.closest(".chip"); if (chip) select(Number(chip.dataset.unit)); };
  panels.onclick = (event) => { const tab = event.target.closest("[data-learner]"); if (tab) { learner = Number(tab.dataset.learner); select(F.learners[learner].unit); } };
  arena.onclick = (event) => {
    const box = arena.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, near = Math.max(26, 0.7 * view.scale);
    places.forEach((place, unit) => { const far = Math.hypot(place.X - x, place.Y - y); if (far < near) { near = far; best = unit; } });
    if (best >= 0) select(best);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const big = event.shiftKey ? 10 : 1, place = SPEEDS.indexOf(now.speed);
    const keys = {
      " ": () => play(!now.playing), ArrowLeft: () => step(-big), ArrowRight: () => step(big), Home: () => seek(0), End: () => { play(false); seek(END); },
      "+": () => setSpeed(SPEEDS[Math.min(place + 1, SPEEDS.length - 1)]), "=": () => setSpeed(SPEEDS[Math.min(place + 1, SPEEDS.length - 1)]), "-": () => setSpeed(SPEEDS[Math.max(place - 1, 0)]),
      f: toggleCamera, t: toggleTheme, "?": toggleHelp, Escape: () => { if (!$("help").hidden) toggleHelp(); },
    };
    if (/^[0-9]$/.test(event.key)) select(event.key === "0" ? 9 : Number(event.key) - 1);
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || (event.key === " " && event.target.closest("button"))) return;
    event.preventDefault(); act();
  });
  new ResizeObserver(() => { stale = true; }).observe($("stage")); new ResizeObserver(() => { stale = true; }).observe(track);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", () => setTheme(scheme.matches ? "dark" : "light"));
  setTheme(wish.theme || (scheme.matches ? "dark" : "light"));
}

buildPage(); bindTimeline((ms) => { play(false); seek(ms); }); bindControls(); showControls(); draw(); requestAnimationFrame(frame);
// For a page around this one, and for tests.
window.watch = { seek: (seconds) => seek(seconds * 1000), play, select, state: () => ({ ...now, seconds: now.ms / 1000, state: stateAt(now.ms).k, states: STATES, places, scale: view.scale }) };
document.documentElement.dataset.ready = "1";
