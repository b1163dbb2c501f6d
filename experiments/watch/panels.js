// What the learner did, could do and thought; threat; the selected unit; reward. Drawn once per decision.
const panels = document.getElementById("panels");
const LAST = Math.max(0, STATES - 2); // last decision
const h = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const percent = (v, digits = 0) => `${(100 * v).toFixed(digits)} %`;
const turn = (share) => `style="transform:scaleX(${clamp(share, 0, 1).toFixed(4)})"`;
let learner = 0;

function card(id, title, body, side = "") {
  return `<section class="card" id="${id}"><h2>${title}<span>${side}</span></h2>${body}</section>`;
}

// A line over all decisions with a mark at the present one; `more` are further lines.
function spark(series, k, more = [], css = "") {
  const all = [series, ...more], flat = all.flat(), low = css ? 0 : Math.min(...flat), high = Math.max(...flat, low + 1e-9);
  const x = (i) => ((i / Math.max(1, series.length - 1)) * 300).toFixed(1), y = (v) => (32 - (30 * (v - low)) / (high - low)).toFixed(1);
  const lines = all.map((line) => `<path d="M${line.map((v, i) => `${x(i)} ${y(v)}`).join("L")}"/>`).join("");
  return `<svg class="spark ${css}" viewBox="0 0 300 34" preserveAspectRatio="none" aria-hidden="true"><line x1="${x(k)}" x2="${x(k)}" y1="0" y2="34"/>${lines}</svg>`;
}

// What an order means, in words: kind, skill slot, target, direction.
function orderWords([kind, slot, target, dx, dy], unit) {
  const whom = target === unit ? "itself" : target >= 0 ? fullName(target) : "";
  const way = dx || dy ? ["south", "", "north"][dy + 1] + ["west", "", "east"][dx + 1] : "";
  const skill = slot >= 0 && F.units[unit].skills[slot] ? F.units[unit].skills[slot].name : "skill";
  const named = F.order_kinds[kind];
  if (named === "fumble") return "fumbles: it was not possible";
  if (named === "move") return way ? `steps ${way}` : "stays";
  if (named === "attack") return whom && `goes for ${whom}`;
  if (named === "skill") return `${skill}${whom && ` at ${whom}`}`;
  if (named === "steer") return [slot >= 0 ? `${skill}${whom && ` at ${whom}`}` : whom && target !== unit ? `hits ${whom}` : "", way && `steps ${way}`].filter(Boolean).join(", ") || "stays";
  if (named === "script") return whom ? `fights ${whom}` : "fights as it likes";
  return whom ? `hits ${whom} if in reach` : "waits";
}

function actionRows(L, k) {
  const chosen = L.chosen[k], legal = L.legal[k], p = L.probabilities[k];
  if (F.head === "control") {
    return F.actions.map((name, i) => {
      const v = chosen[i];
      return `<div class="row chosen"><span>${h(words(name))}</span><span class="rail both"><u style="transform:scaleX(${v.toFixed(3)})"></u></span><span class="n">${v.toFixed(2)}</span></div>`;
    }).join("");
  }
  if (F.head === "movement") {
    const cells = [8, 1, 2, 7, 0, 3, 6, 5, 4].map((a) => {
      const css = [a === chosen ? "chosen" : "", legal[a] === "1" ? "" : "illegal"].join(" ");
      return `<div class="${css}"><u style="transform:scaleY(${p ? p[a] : 0})"></u><b>${F.actions[a]}</b>${p ? `<small>${percent(p[a])}</small>` : ""}</div>`;
    });
    return `<div class="compass">${cells.join("")}</div>`;
  }
  let shown = F.actions.map((_, a) => a);
  if (shown.length > 12) { // the skill head: what is legal, the likeliest first
    shown = shown.filter((a) => legal[a] === "1" || a === chosen).sort((a, b) => (p ? p[b] - p[a] : a - b));
    const place = shown.indexOf(chosen);
    if (place > 9) shown.splice(9, 0, shown.splice(place, 1)[0]);
    shown = shown.slice(0, 10);
  }
  return shown.map((a) => {
    const can = legal[a] === "1", css = [a === chosen ? "chosen" : "", can ? "" : "illegal"].join(" ");
    const n = can ? (p ? percent(p[a], p[a] < 0.1 && p[a] >= 0.0005 ? 1 : 0) : a === chosen ? "chosen" : "possible") : "not now";
    return `<div class="row ${css}" title="${can ? "" : "cannot take effect in this window"}"><span>${h(actionWords(a))}</span><span class="rail"><u ${turn(p && can ? p[a] : 0)}></u></span><span class="n">${n}</span></div>`;
  }).join("");
}

// "skill_2:enemy_0" by the names of this fight: "storm, orange mage".
function actionWords(action) {
  const name = F.actions[action], L = F.learners[learner];
  if (F.head !== "skill" || !name.includes(":")) return words(name);
  const [what, pointer] = name.split(":"), own = L.unit < HALF ? 0 : HALF;
  const [kind, place] = pointer.split("_"), mates = Array.from({ length: HALF }, (_, i) => own + i).filter((i) => i !== L.unit);
  const unit = kind === "self" ? L.unit : kind === "enemy" ? HALF - own + Number(place) : mates[Number(place)];
  const skill = what === "attack" ? "attack" : (F.units[L.unit].skills[Number(what.split("_")[1])] || { name: words(what) }).name;
  return `${skill}, ${unit === L.unit ? "itself" : unit < F.units.length && unit !== undefined ? fullName(unit) : words(pointer)}`;
}

function decisionCard(k) {
  if (!F.learners.length) return card("decision", "Decision", '<p class="note">No mind was asked: the traditional AI plays both sides.</p>');
  const L = F.learners[learner], chosen = L.chosen[k], noted = L.probabilities.length > 0;
  const name = Array.isArray(chosen) ? "steers" : actionWords(chosen), dead = !alive(L.unit, k);
  const cast = F.series.cast[L.unit][k], bound = [...L.legal[k]].filter((c) => c === "1").length === 1;
  let meant = F.head === "skill" ? "" : orderWords(L.orders[k], L.unit); // a skill's name says it all
  if (bound && cast) meant = `no choice, casting ${F.units[L.unit].skills[cast - 1].name}`;
  else if (bound && has(L.unit, k, "stun")) meant = "no choice, stunned";
  else if (bound && has(L.unit, k, "taunt")) meant = "no choice, taunted";
  let body = "";
  if (F.learners.length > 1) body += `<div class="tabs">${F.learners.map((o, i) => `<button data-learner="${i}" aria-pressed="${i === learner}">${h(unitName(o.unit))}</button>`).join("")}</div>`;
  body += dead ? `<p class="lead">has fallen</p>` : `<p class="lead">${h(name)} <small>${h(meant === name ? "" : meant)}</small></p>`;
  body += `<div class="${noted || F.head === "control" ? "" : "bare"} ${F.head === "skill" ? "long" : ""}">${actionRows(L, k)}</div>`;
  if (L.values.length) body += `<div class="figure">${F.about.value === "own units" ? "Value, in the model's own units" : "Value: reward it expects from here on"}<b>${L.values[k].toFixed(F.about.value === "own units" ? 3 : 1)}</b></div>${spark(L.values, k)}`;
  if (noted && F.about.probabilities) body += `<p class="note">Probabilities: ${h(F.about.probabilities)}; it always plays the largest.</p>`;
  if (!noted && F.head !== "control") body += '<p class="note">Recorded without probabilities: only what was possible and what was chosen.</p>';
  return card("decision", `Decision of the ${h(fullName(L.unit))}`, body, `${k + 1} of ${LAST + 1}`);
}

function threatCard(k) {
  if (!F.learners.length) return "";
  const L = F.learners[learner], predicted = L.predicted_threat, first = L.unit < HALF ? HALF : 0;
  const top = Math.max(0.2, ...L.true_threat.flat(), ...predicted.flat());
  const rows = L.true_threat[k].map((v, e) => {
    const p = predicted.length ? predicted[k][e] : null, gone = !alive(first + e, k) ? " illegal" : "";
    const mark = p === null ? "" : `<s style="left:${(100 * clamp(p / top, 0, 1)).toFixed(1)}%"></s>`;
    return `<div class="row${gone}"><span>${h(unitName(first + e))}</span><span class="rail"><u ${turn(v / top)}></u>${mark}</span><span class="n">${p === null ? percent(v) : `${percent(p)} → ${percent(v)}`}</span></div>`;
  });
  const total = L.true_threat.map((row) => row.reduce((a, b) => a + b, 0));
  const guess = predicted.map((row) => row.reduce((a, b) => a + b, 0));
  const note = predicted.length ? "Bar: what each enemy really does to it in the next 2 s, of its full HP. Mark and dashed line: what was predicted." : "What each enemy really does to it in the next 2 s, of its full HP.";
  return card("threat", `Threat to the ${h(fullName(L.unit))}`, `<div class="threat">${rows.join("")}</div>${spark(total, k, guess.length ? [guess] : [], "pred")}<p class="note">${note}</p>`, predicted.length ? "predicted → true" : "");
}

function unitCard(unit, k) {
  const u = F.units[unit], s = F.series, slot = s.cast[unit][k], target = s.target[unit][k];
  const active = STATUS.filter((name) => has(unit, k, name)).map((name) => (name === "shield" ? `shield ${s.shield[unit][k]}` : { stun: "stunned", slow: "slowed", taunt: "taunted" }[name] || name));
  const skills = u.skills.map((skill, i) => {
    const wait = cooldownShare(unit, i, msAt(k));
    return `<div class="${wait ? "busy" : ""}">${h(skill.name)}<span class="rail"><u ${turn(1 - wait)}></u></span></div>`;
  }).join("");
  const rows = `<div>HP<b>${s.hp[unit][k]} / ${u.hp}</b></div><div>SP<b>${s.sp[unit][k]} / ${u.sp}</b></div><div>reach<b>${u.range} ${u.range === 1 ? "cell" : "cells"}</b></div><div>pace<b>${(1000 / u.speed_ms).toFixed(1)} cells/s</b></div>
    <div class="wide">${slot ? "casts" : "target"}<b>${slot ? h(u.skills[slot - 1].name) : target >= 0 && alive(unit, k) ? h(fullName(target)) : "none"}</b></div><div class="wide">state<b>${alive(unit, k) ? active.join(", ") || "nothing special" : "fallen"}</b></div>`;
  return card("unit", `Selected: ${h(fullName(unit))}`, `<div class="unit">${rows}</div><div class="skills" data-team="${u.team}">${skills}</div>`, u.learner ? "played by a mind" : "traditional AI");
}

const SUMS = Object.fromEntries(Object.entries(F.terms).map(([name, row]) => { let sum = 0; return [name, row.map((v) => (sum += v))]; }));
function rewardCard(k) {
  const names = Object.keys(SUMS);
  if (!names.length) return "";
  const top = Math.max(1, ...Object.values(SUMS).flat().map(Math.abs)), at = (name) => (k ? SUMS[name][k - 1] : 0);
  const rows = names.map((name) => {
    const v = at(name);
    return `<div class="row"><span>${h(words(name))}</span><span class="rail both"><u class="${v < 0 ? "minus" : ""}" style="transform:scaleX(${(v / top).toFixed(4)})"></u></span><span class="n">${v.toFixed(1)}</span></div>`;
  });
  const total = names.reduce((sum, name) => sum + at(name), 0);
  return card("reward", `Reward of the ${h(fullName(0))} so far`, `<div class="terms">${rows.join("")}</div>`, `<b>${total.toFixed(1)}</b>`);
}

// At state k the decision just taken is number k; at the end the last one stays.
function drawPanels(k, selected) {
  const d = Math.min(k, LAST), scroll = panels.scrollTop;
  panels.innerHTML = STATES > 1 ? decisionCard(d) + threatCard(d) + (selected === null ? "" : unitCard(selected, k)) + rewardCard(k) : "";
  panels.scrollTop = scroll;
}
