// The recorded fight as functions of time; everything shown is computed from the time alone, so that playing,
// scrubbing and stepping agree.
const F = JSON.parse(document.getElementById("fight").textContent);
const STATES = F.ticks.length;
const HALF = F.units.length / 2;
const STATUS = ["stun", "slow", "taunt", "guard", "power", "shield"];
const END = F.ticks[STATES - 1] * 100; // milliseconds

const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
const mix = (a, b, share) => a + (b - a) * share;
const msAt = (k) => F.ticks[k] * 100;
const words = (name) => name.replaceAll("_", " ");

// The last state at or before a time, and how far the next one is.
function stateAt(ms) {
  let k = clamp(Math.floor(ms / F.decision_ms), 0, STATES - 1);
  while (k > 0 && msAt(k) > ms) k -= 1;
  while (k < STATES - 1 && msAt(k + 1) <= ms) k += 1;
  if (k === STATES - 1) return { k, share: 0 };
  return { k, share: clamp((ms - msAt(k)) / (msAt(k + 1) - msAt(k)), 0, 1) };
}
// A series between two states.
function between(name, unit, { k, share }) {
  const column = F.series[name][unit];
  return share > 0 ? mix(column[k], column[k + 1], share) : column[k];
}
const hpShare = (unit, at) => between("hp", unit, at) / F.units[unit].hp;
const alive = (unit, k) => F.series.hp[unit][k] > 0;
const has = (unit, k, status) => (F.series.status[unit][k] >> STATUS.indexOf(status)) & 1;

function teamShare(team, at) {
  let sum = 0;
  for (let i = team * HALF; i < (team + 1) * HALF; i += 1) sum += hpShare(i, at);
  return sum / HALF;
}

// A name that tells units apart: "blue mage", "blue mage 2".
const TEAM_NAMES = ["blue", "orange"];
function unitName(unit) {
  const u = F.units[unit];
  const twins = F.units.map((v, i) => i).filter((i) => F.units[i].team === u.team && F.units[i].name === u.name);
  return words(u.name) + (twins.length > 1 ? ` ${twins.indexOf(unit) + 1}` : "");
}
const fullName = (unit) => `${TEAM_NAMES[F.units[unit].team]} ${unitName(unit)}`;

// Events by kind, with their time; hits of one window on one unit are shown as one number.
const EVENTS = F.events.map(([k, kind, source, target, amount]) => ({ k, ms: msAt(k), kind, source, target, amount }));
const eventsOf = (kind) => EVENTS.filter((e) => e.kind === kind);
const DEATHS = eventsOf("death");
const HITS = eventsOf("hit");
const FLOATS = [];
for (const e of EVENTS) {
  if (e.kind === "skill" || e.kind === "death") continue;
  const same = FLOATS.find((g) => g.k === e.k && g.target === e.target && g.kind === e.kind && e.kind !== "miss");
  if (same) same.amount += e.amount;
  else FLOATS.push({ ...e, row: FLOATS.filter((g) => g.target === e.target && e.ms - g.ms < 500 && g.ms <= e.ms).length % 3 });
}
// When each skill was last started, for its cooldown; and casts that came off or were broken.
const SKILLS = eventsOf("skill").map((e) => ({ ...e, slot: e.amount, skill: F.units[e.source].skills[e.amount] }));
const BLASTS = [];
for (let unit = 0; unit < F.units.length; unit += 1) {
  const cast = F.series.cast[unit];
  for (let k = 0; k + 1 < STATES; k += 1) {
    if (!cast[k] || cast[k + 1] === cast[k]) continue;
    const skill = F.units[unit].skills[cast[k] - 1];
    const done = F.series.cast_left[unit][k] <= F.decision_ms && alive(unit, k + 1);
    if (!done && alive(unit, k + 1)) FLOATS.push({ k: k + 1, ms: msAt(k + 1), kind: "broken", source: unit, target: unit, amount: 0, row: 0 });
    else if (done && skill.kind === "ground") BLASTS.push({ ms: msAt(k + 1), unit, x: F.series.cast_x[unit][k], y: F.series.cast_y[unit][k], radius: skill.radius });
    else if (done && skill.kind === "area") BLASTS.push(around(k + 1, unit, skill));
  }
}
for (const e of SKILLS) if (e.skill && e.skill.kind === "area" && !e.skill.cast_ms) BLASTS.push(around(e.k, e.source, e.skill));
function around(k, unit, skill) {
  const j = F.series.target[unit][k] >= 0 ? F.series.target[unit][k] : unit;
  return { ms: msAt(k), unit, x: F.series.x[j][k], y: F.series.y[j][k], radius: skill.radius };
}
function cooldownShare(unit, slot, ms) {
  let started = null;
  for (const e of SKILLS) if (e.source === unit && e.slot === slot && e.ms <= ms) started = e;
  if (!started || !started.skill || !started.skill.cooldown_ms) return 0;
  return clamp(1 - (ms - started.ms) / started.skill.cooldown_ms, 0, 1);
}

// Shapes of the archetypes in a box from -1 to 1: [path, filled].
const GLYPHS = {
  aggressive: ["M-.62 .62L.66-.66M-.66-.66L.62 .62M-.7 .18L-.18 .7M.7 .18L.18 .7", false],
  defensive: ["M0-.8L.64-.54V.02C.64 .46 .36 .7 0 .86C-.36 .7-.64 .46-.64 .02V-.54Z", true],
  support: ["M0-.66V.66M-.66 0H.66", false],
  mage: ["M0-.92C.1-.2 .2-.1 .92 0C.2 .1 .1 .2 0 .92C-.1 .2-.2 .1-.92 0C-.2-.1-.1-.2 0-.92Z", true],
  tank: ["M-.66 .72V-.7H-.32V-.38H-.16V-.7H.16V-.38H.32V-.7H.66V.72Z", true],
  ranged: ["M-.62 .62L.6-.6M.08-.62H.62V-.08M-.62 .2V.62H-.2", false],
  "": ["M-.3 0A.3 .3 0 1 0 .3 0A.3 .3 0 1 0-.3 0", true],
};
const glyphOf = (unit) => GLYPHS[F.units[unit].base] || GLYPHS[""];
function glyphSvg(unit) {
  const [path, filled] = glyphOf(unit);
  return `<svg class="glyph${filled ? " solid" : ""}" viewBox="-1 -1 2 2" aria-hidden="true"><path d="${path}"/></svg>`;
}
