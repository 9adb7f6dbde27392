// What the keyboard and a click add to passages side by side; without it, links do the same.
"use strict";

const numbers = () => [...document.querySelectorAll(".chips a.passage")].map((one) => Number(one.dataset.passage));
const stretches = (number) => document.querySelectorAll(`.sides a.passage[data-passage~="${number}"]`);
let shown = null;

function show(number, focus) {
  for (const one of document.querySelectorAll(".passage.lit")) one.classList.remove("lit");
  const lit = [...stretches(number)];
  for (const one of lit) one.classList.add("lit");
  for (const pane of document.querySelectorAll(".sides article")) {
    const first = document.getElementById(`${pane.dataset.side}${number}`) || lit.find((one) => pane.contains(one));
    if (first && pane.scrollHeight > pane.clientHeight) {
      const middle = first.getBoundingClientRect().top - pane.getBoundingClientRect().top;
      pane.scrollTop += middle - pane.clientHeight / 3;
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
  const asked = /^#[LR](\d+)$/.exec(location.hash);
  if (asked) show(Number(asked[1]));
}
