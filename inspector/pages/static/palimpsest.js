// What the keyboard and a click add to passages side by side; without it, links do the same.
"use strict";

const passages = () => [...document.querySelectorAll(".sides article")].map(
  (side) => new Map([...side.querySelectorAll("a.passage")].reverse().map((one) => [Number(one.dataset.passage), one])),
);

function show(number, focus) {
  for (const one of document.querySelectorAll(".passage.lit")) one.classList.remove("lit");
  for (const one of document.querySelectorAll(`.sides a.passage[data-passage="${number}"]`)) one.classList.add("lit");
  for (const side of passages()) {
    const first = side.get(number);
    if (!first) continue;
    const pane = first.closest("article");
    if (pane.scrollHeight > pane.clientHeight) {
      const middle = first.getBoundingClientRect().top - pane.getBoundingClientRect().top;
      pane.scrollTop += middle - pane.clientHeight / 3;
    }
  }
  const [left, right] = passages();
  const chosen = focus || left.get(number) || right.get(number);
  if (chosen) chosen.focus({ preventScroll: true });
  history.replaceState(null, "", `#L${number}`);
}

function step(by) {
  const [left] = passages();
  const numbers = [...left.keys()].sort((one, other) => one - other);
  if (!numbers.length) return;
  const lit = document.querySelector(".sides .passage.lit");
  const at = lit ? numbers.indexOf(Number(lit.dataset.passage)) : by > 0 ? -1 : 0;
  show(numbers[(at + by + numbers.length) % numbers.length]);
}

if (document.querySelector(".sides")) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.passage[data-passage]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    show(Number(link.dataset.passage), link.closest(".sides") && link);
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
