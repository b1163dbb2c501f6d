// The arena: floor, casts, units, numbers, as seen by a camera that follows the fight.
const arena = document.getElementById("arena");
const pen = arena.getContext("2d");
const PATHS = F.units.map((_, unit) => new Path2D(glyphOf(unit)[0]));
let ink = {}; // colours of the current theme

// Camera: the box around the living, widened a little over time and smoothed, so that it never jerks.
const CAMERA = (() => {
  const boxes = F.ticks.map((_, k) => {
    const xs = [], ys = [];
    F.units.forEach((u, i) => {
      if (!alive(i, k) && !alive(i, Math.max(0, k - 4))) return;
      xs.push(F.series.x[i][k]); ys.push(F.series.y[i][k]);
      if (F.series.cast[i][k] && u.skills[F.series.cast[i][k] - 1].kind === "ground") { xs.push(F.series.cast_x[i][k]); ys.push(F.series.cast_y[i][k]); }
    });
    if (!xs.length) return [0, 0, F.size - 1, F.size - 1];
    return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  });
  const reach = 4;
  const wide = boxes.map((_, k) => [0, 1, 2, 3].map((side) => {
    const near = boxes.slice(Math.max(0, k - reach), k + reach + 1).map((box) => box[side]);
    return side < 2 ? Math.min(...near) : Math.max(...near);
  }));
  return wide.map((_, k) => [0, 1, 2, 3].map((side) => {
    let sum = 0, weight = 0;
    for (let j = -2 * reach; j <= 2 * reach; j += 1) {
      const w = Math.exp(-((j / reach) ** 2));
      sum += w * wide[clamp(k + j, 0, STATES - 1)][side]; weight += w;
    }
    return sum / weight;
  }));
})();

const view = { scale: 20, x: 0, y: 0 }; // pixels per cell, pixel of cell (0, 0)
const px = (x) => view.x + x * view.scale;
const py = (y) => view.y - y * view.scale; // north is up

function aim(at, whole) {
  const width = arena.clientWidth, height = arena.clientHeight;
  const top = Math.min(96, height * 0.2), pad = 14;
  let box = [-0.5, -0.5, F.size - 0.5, F.size - 0.5];
  if (!whole) {
    const here = CAMERA[at.k], next = CAMERA[Math.min(at.k + 1, STATES - 1)];
    box = here.map((v, side) => clamp(mix(v, next[side], at.share) + (side < 2 ? -2 : 2), -1.2, F.size + 0.2));
  }
  const roomX = width - 2 * pad, roomY = height - top - pad;
  const most = Math.min(roomX, roomY) / 9; // never closer than this
  view.scale = Math.min(roomX / (box[2] - box[0]), roomY / (box[3] - box[1]), whole ? Infinity : most);
  view.x = width / 2 - ((box[0] + box[2]) / 2) * view.scale;
  view.y = top + roomY / 2 + ((box[1] + box[3]) / 2) * view.scale;
}

function drawArena(ms, { selected, whole }) {
  const ratio = window.devicePixelRatio || 1, width = arena.clientWidth, height = arena.clientHeight;
  if (arena.width !== Math.round(width * ratio) || arena.height !== Math.round(height * ratio)) {
    arena.width = Math.round(width * ratio); arena.height = Math.round(height * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  const at = stateAt(ms);
  aim(at, whole);
  drawFloor(width, height);
  const places = apart(F.units.map((_, unit) => placeOf(unit, at, ms)), at);
  drawRange(selected, places, at);
  F.units.forEach((_, unit) => drawGroundCast(unit, at));
  for (const b of BLASTS) drawBlast(b, ms);
  F.units.forEach((_, unit) => { if (!alive(unit, at.k)) drawFallen(unit, places[unit], at, ms); });
  F.units.forEach((_, unit) => drawTarget(unit, places, at, unit === selected));
  for (const hit of HITS) drawShot(hit, places, ms);
  const order = F.units.map((_, i) => i).filter((i) => alive(i, at.k)).sort((a, b) => places[b].y - places[a].y);
  for (const unit of order) drawUnit(unit, places[unit], at, ms, unit === selected);
  for (const unit of order) drawBars(unit, places[unit], at, ms);
  for (const e of FLOATS) drawFloat(e, places, ms);
  for (const e of SKILLS) drawCallout(e, places, ms);
  return places;
}

function drawFloor(width, height) {
  pen.fillStyle = ink.void; pen.fillRect(0, 0, width, height);
  const s = view.scale, n = F.size;
  const x0 = Math.max(0, Math.floor((0 - view.x) / s - 0.5)), x1 = Math.min(n - 1, Math.ceil((width - view.x) / s + 0.5));
  const y0 = Math.max(0, Math.floor((view.y - height) / s - 0.5)), y1 = Math.min(n - 1, Math.ceil(view.y / s + 0.5));
  pen.save();
  pen.beginPath(); pen.roundRect(px(-0.5), py(n - 0.5), n * s, n * s, 0.3 * s); pen.clip();
  pen.fillStyle = ink.floor; pen.fillRect(px(-0.5), py(n - 0.5), n * s, n * s);
  pen.fillStyle = ink.tile;
  for (let y = y0; y <= y1; y += 1) for (let x = x0; x <= x1; x += 1) if ((x + y) % 2) pen.fillRect(px(x - 0.5), py(y + 0.5), s, s);
  pen.strokeStyle = ink.grid; pen.lineWidth = 1; pen.beginPath();
  for (let x = x0; x <= x1 + 1; x += 1) { pen.moveTo(px(x - 0.5), py(y0 - 0.5)); pen.lineTo(px(x - 0.5), py(y1 + 0.5)); }
  for (let y = y0; y <= y1 + 1; y += 1) { pen.moveTo(px(x0 - 0.5), py(y - 0.5)); pen.lineTo(px(x1 + 0.5), py(y - 0.5)); }
  pen.stroke();
  if (F.terrain) {
    const wall = (x, y) => y >= 0 && F.terrain[y][x] === "#";
    for (let y = y1; y >= y0; y -= 1) for (let x = x0; x <= x1; x += 1) if (wall(x, y)) {
      const front = wall(x, y - 1) ? 0 : 0.26 * s; // its south side shows where nothing stands before it
      pen.fillStyle = ink.wallTop; pen.fillRect(px(x - 0.5) - 0.5, py(y + 0.5) - 0.5, s + 1, s + 1 - front);
      pen.fillStyle = ink.wall; pen.fillRect(px(x - 0.5) - 0.5, py(y - 0.5) - front, s + 1, front);
    }
  }
  pen.restore();
}

// Where a unit is drawn: between two states, thrown forward a little by its own swing.
function placeOf(unit, at, ms) {
  let x = between("x", unit, at), y = between("y", unit, at);
  for (const e of HITS) {
    if (e.source !== unit || ms < e.ms - 160 || ms > e.ms + 140) continue;
    const tx = F.series.x[e.target][e.k], ty = F.series.y[e.target][e.k], far = Math.hypot(tx - x, ty - y);
    if (far === 0 || far > 2.9) continue;
    const swing = 0.3 * Math.sin(Math.PI * (ms - e.ms + 160) / 300);
    x += (swing * (tx - x)) / far; y += (swing * (ty - y)) / far;
  }
  return { x, y };
}

// Several units may stand on one cell: they are drawn a little apart.
function apart(places, at) {
  const moved = places.map((place) => ({ ...place }));
  for (let i = 0; i < places.length; i += 1) for (let j = 0; j < i; j += 1) {
    let dx = places[i].x - places[j].x, dy = places[i].y - places[j].y;
    const far = Math.hypot(dx, dy);
    if (far >= 0.75 || !alive(i, at.k) || !alive(j, at.k)) continue;
    dx += 0.05 * Math.cos(i + 3 * j); dy += 0.05 * Math.sin(i + 3 * j);
    const push = (0.75 - far) / 2 / (Math.hypot(dx, dy) || 1);
    moved[i].x += dx * push; moved[i].y += dy * push; moved[j].x -= dx * push; moved[j].y -= dy * push;
  }
  for (const place of moved) { place.X = px(place.x); place.Y = py(place.y); }
  return moved;
}

function square(x, y, reach, corner = 0.35) {
  const s = view.scale;
  pen.beginPath(); pen.roundRect(px(x - reach), py(y + reach), 2 * reach * s, 2 * reach * s, corner * s);
}
const teamInk = (unit) => ink.team[F.units[unit].team];

// Distance counts diagonals as one step, so everything within a range is a square.
function drawRange(unit, places, at) {
  if (unit === null || !alive(unit, at.k)) return;
  pen.strokeStyle = teamInk(unit); pen.fillStyle = teamInk(unit);
  square(places[unit].x, places[unit].y, F.units[unit].range + 0.5);
  pen.globalAlpha = 0.05; pen.fill();
  pen.globalAlpha = 0.5; pen.lineWidth = 1.5; pen.setLineDash([5, 5]); pen.stroke();
  pen.setLineDash([]); pen.globalAlpha = 1;
}

function drawGroundCast(unit, at) {
  const slot = F.series.cast[unit][at.k];
  if (!slot) return;
  const skill = F.units[unit].skills[slot - 1];
  if (skill.kind !== "ground") return;
  const left = F.series.cast_left[unit][at.k] - at.share * F.decision_ms;
  const done = clamp(1 - left / Math.max(1, skill.cast_ms), 0, 1);
  const x = F.series.cast_x[unit][at.k], y = F.series.cast_y[unit][at.k], reach = skill.radius + 0.5;
  pen.fillStyle = pen.strokeStyle = teamInk(unit);
  square(x, y, reach); pen.globalAlpha = 0.12; pen.fill(); pen.globalAlpha = 0.9; pen.lineWidth = 2; pen.stroke();
  square(x, y, reach * done); pen.globalAlpha = 0.26; pen.fill(); pen.globalAlpha = 1;
}

function drawBlast(b, ms) {
  const age = (ms - b.ms) / 420;
  if (age < 0 || age > 1) return;
  pen.fillStyle = pen.strokeStyle = teamInk(b.unit);
  square(b.x, b.y, (b.radius + 0.5) * (0.85 + 0.25 * age)); pen.globalAlpha = 0.45 * (1 - age); pen.fill();
  pen.globalAlpha = 1 - age; pen.lineWidth = 3 * (1 - age) + 1; pen.stroke(); pen.globalAlpha = 1;
}

function drawTarget(unit, places, at, strong) {
  const j = F.series.target[unit][at.k];
  if (j < 0 || !alive(unit, at.k) || !alive(j, at.k)) return;
  const a = places[unit], b = places[j], far = Math.hypot(b.X - a.X, b.Y - a.Y), skip = 0.52 * view.scale;
  if (far < 2 * skip) return;
  const ux = (b.X - a.X) / far, uy = (b.Y - a.Y) / far, bend = 0.09 * far * (F.units[unit].team ? -1 : 1);
  pen.strokeStyle = pen.fillStyle = teamInk(unit); pen.lineWidth = strong ? 2.5 : 1.5; pen.globalAlpha = strong ? 0.85 : 0.32;
  const mx = (a.X + b.X) / 2 - uy * bend, my = (a.Y + b.Y) / 2 + ux * bend;
  pen.beginPath(); pen.moveTo(a.X + ux * skip, a.Y + uy * skip); pen.quadraticCurveTo(mx, my, b.X - ux * skip, b.Y - uy * skip); pen.stroke();
  const dx = b.X - ux * skip - mx, dy = b.Y - uy * skip - my, l = Math.hypot(dx, dy) || 1, r = strong ? 8 : 6;
  pen.translate(b.X - ux * skip, b.Y - uy * skip); pen.rotate(Math.atan2(dy / l, dx / l));
  pen.beginPath(); pen.moveTo(0, 0); pen.lineTo(-r, -r * 0.55); pen.lineTo(-r, r * 0.55); pen.closePath(); pen.fill();
  pen.rotate(-Math.atan2(dy / l, dx / l)); pen.translate(-(b.X - ux * skip), -(b.Y - uy * skip));
  pen.globalAlpha = 1;
}

// A hit from afar flies for a moment before it lands; one from near leaves a slash.
function drawShot(e, places, ms) {
  if (e.source < 0 || ms < e.ms - 180 || ms > e.ms + 200) return;
  const a = places[e.source], b = places[e.target], far = Math.hypot(b.x - a.x, b.y - a.y), s = view.scale;
  pen.strokeStyle = pen.fillStyle = teamInk(e.source); pen.lineCap = "round";
  if (ms <= e.ms && far > 2.2) {
    const share = (ms - e.ms + 180) / 180, x = mix(a.X, b.X, share), y = mix(a.Y, b.Y, share);
    const tail = Math.max(0, share - 0.22), magic = ["mage", "support"].includes(F.units[e.source].base);
    pen.lineWidth = magic ? 0.16 * s : 0.07 * s; pen.globalAlpha = 0.75;
    pen.beginPath(); pen.moveTo(mix(a.X, b.X, tail), mix(a.Y, b.Y, tail)); pen.lineTo(x, y); pen.stroke();
    if (magic) { pen.globalAlpha = 1; pen.beginPath(); pen.arc(x, y, 0.15 * s, 0, 7); pen.fill(); }
  } else if (ms > e.ms) {
    const age = (ms - e.ms) / 200, turn = e.source * 1.7 + e.k;
    pen.lineWidth = 0.06 * s; pen.globalAlpha = 1 - age;
    for (let ray = 0; ray < 7; ray += 1) {
      const angle = turn + (ray * 2 * Math.PI) / 7, r0 = s * (0.42 + 0.22 * age), r1 = s * (0.5 + 0.38 * age);
      pen.beginPath(); pen.moveTo(b.X + Math.cos(angle) * r0, b.Y + Math.sin(angle) * r0); pen.lineTo(b.X + Math.cos(angle) * r1, b.Y + Math.sin(angle) * r1); pen.stroke();
    }
  }
  pen.globalAlpha = 1; pen.lineCap = "butt";
}
