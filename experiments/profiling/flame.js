"use strict";
// A click makes a frame as wide as the window; a search marks frames and adds up their time.
(() => {
  const graph = document.getElementById("graph");
  const frames = [...graph.querySelectorAll(".f")];
  const number = (frame, name) => Number(frame.dataset[name]);

  function zoom(chosen) {
    const x = number(chosen, "x"), w = number(chosen, "w");
    const tiny = 1e-7; // shares are rounded in the file
    for (const frame of frames) {
      const start = number(frame, "x"), wide = number(frame, "w");
      const above = number(frame, "d") < number(chosen, "d") && start <= x + tiny && start + wide >= x + w - tiny;
      const inside = start >= x - tiny && start + wide <= x + w + tiny && number(frame, "d") >= number(chosen, "d");
      frame.classList.toggle("gone", !above && !inside);
      frame.setAttribute("x", above ? "0%" : `${(100 * (start - x)) / w}%`);
      frame.setAttribute("width", above ? "100%" : `${(100 * wide) / w}%`);
    }
  }

  function find(words) {
    let sum = 0, end = -1;
    for (const frame of frames) {
      const hit = words !== "" && frame.querySelector("title").textContent.toLowerCase().includes(words);
      frame.classList.toggle("hit", hit);
    }
    // What is found inside something found counts once: frames are drawn parents first, left to right.
    for (const frame of frames.filter((f) => f.classList.contains("hit"))) {
      const start = number(frame, "x"), wide = number(frame, "w");
      if (start >= end - 1e-7) { sum += wide; end = start + wide; }
    }
    document.getElementById("found").textContent = words ? `${(100 * sum).toFixed(1)} % of the time` : "";
  }

  graph.addEventListener("click", (event) => {
    const frame = event.target.closest(".f");
    if (frame) zoom(frame);
  });
  document.getElementById("whole").addEventListener("click", () => zoom(frames[0]));
  document.getElementById("find").addEventListener("input", (event) => find(event.target.value.trim().toLowerCase()));
  document.documentElement.dataset.ready = "1";
})();
