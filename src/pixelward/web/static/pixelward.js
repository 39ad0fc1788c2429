// Turn the page with the arrow keys; show the field of a unit while its entry is pointed at. Nothing needs this script.
"use strict";

const TURNS = { ArrowLeft: "prev", ArrowRight: "next" };

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (typing || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = TURNS[event.key] && document.querySelector(`a[rel="${TURNS[event.key]}"]`);
  if (link) link.click();
});

for (const entry of document.querySelectorAll("[data-field]")) {
  const field = document.getElementById(entry.dataset.field);
  const mark = (on) => () => {
    field.classList.toggle("on", on);
    field.closest("svg").classList.toggle("chosen", on);
  };
  for (const name of ["pointerenter", "focus"]) entry.addEventListener(name, mark(true));
  for (const name of ["pointerleave", "blur"]) entry.addEventListener(name, mark(false));
}
