// Keys, and the field of a unit shown while its entry is pointed at. No page needs this script.
"use strict";

{
  const keys = document.getElementById("keys");
  const writes = (target) => target.closest("textarea, select, [contenteditable], input:not([type=radio], [type=checkbox])");
  const chooses = (target) => target.closest("input");

  // What a key does stands in the page: the element with this aria-keyshortcuts is followed, entered or turned on.
  const act = (element) => {
    if (element.matches("fieldset")) {
      const choices = [...element.querySelectorAll("input")];
      choices[(choices.findIndex((each) => each.checked) + 1) % choices.length].click();
    } else if (element.matches("input")) {
      element.focus();
      element.select();
    } else {
      element.click();
    }
  };

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || keys.open || writes(event.target)) return;
    if (event.key.startsWith("Arrow") && (event.shiftKey || chooses(event.target))) return;
    const element = document.querySelector(`[aria-keyshortcuts="${CSS.escape(event.key)}"]`);
    if (!element) return;
    event.preventDefault();
    act(element);
  });

  document.getElementById("show-keys").addEventListener("click", () => keys.showModal());
  keys.addEventListener("click", (event) => {
    if (event.target === keys) keys.close(); // beside the box
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
}
