// Keyboard and click navigation between passages side by side; without this script, links do the same.
"use strict";

const numbers = () => [...document.querySelectorAll(".chips a.passage")].map((link) => Number(link.dataset.passage));
const fragments = (number) => document.querySelectorAll(`.sides a.passage[data-passage~="${number}"]`);
let shown = null;

function show(number, focus) {
  for (const link of document.querySelectorAll(".passage.lit")) link.classList.remove("lit");
  const lit = [...fragments(number)];
  for (const link of lit) link.classList.add("lit");
  for (const pane of document.querySelectorAll(".sides article")) {
    const first = document.getElementById(`${pane.dataset.side}${number}`) || lit.find((link) => pane.contains(link));
    if (first && pane.scrollHeight > pane.clientHeight) {
      const offset = first.getBoundingClientRect().top - pane.getBoundingClientRect().top;
      pane.scrollTop += offset - pane.clientHeight / 3;
    }
  }
  const chosen = focus || lit[0];
  if (chosen) chosen.focus({ preventScroll: true });
  shown = number;
  history.replaceState(null, "", `#L${number}`);
}

function step(by) {
  const all = numbers();
  if (!all.length) return;
  const at = shown === null ? (by > 0 ? -1 : 0) : all.indexOf(shown);
  show(all[(at + by + all.length) % all.length]);
}

if (document.querySelector(".sides")) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.passage[data-passage]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    show(Number(link.dataset.passage.split(" ")[0]), link.closest(".sides") && link);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea") || event.metaKey || event.ctrlKey || event.altKey) return;
    const by = { n: 1, j: 1, p: -1, k: -1 }[event.key];
    if (by) {
      event.preventDefault();
      step(by);
    }
  });
  const target = /^#[LR](\d+)$/.exec(location.hash);
  if (target) show(Number(target[1]));
}
