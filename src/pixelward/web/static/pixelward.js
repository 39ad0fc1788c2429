// Keys, tiles that lead to what they show, the field of a unit while its entry is pointed at, and edges that fade. No page
// needs this script.
"use strict";

// What pages write beside their sheets: the pictures, [address, name, label] each, and the hits of each sheet.
const tiles = {
  known: new WeakMap(),
  pictures(list) {
    if (!tiles.known.has(list)) tiles.known.set(list, JSON.parse(list.dataset.pictures));
    return tiles.known.get(list);
  },
  hits(item) {
    return item.dataset.hits.split(";").map((hit) => {
      const [value, picture, ...place] = hit.split(" ");
      return { value, picture: Number(picture), place };
    });
  },
};

// A projection leads to its hit, a patch to its picture. Tiles become links when a mouse first comes to their sheets, so
// that thousands of sheets cost nothing; a finger, which points at nothing before it taps, is followed to its tile.
{
  const cover = (pair) => {
    const item = pair.closest("[data-hits]");
    const pictures = tiles.pictures(pair.closest("[data-pictures]"));
    const unit = pair.querySelector(".of").href;
    const sheets = ["projections", "patches"].map((kind) => {
      const cells = document.createElement("div");
      cells.className = `cells ${kind}`;
      tiles.hits(item).forEach((hit, rank) => {
        const [address, name, label] = pictures[hit.picture];
        const cell = document.createElement("a");
        cell.href = kind === "patches" ? address : `${unit}#h${rank + 1}`;
        cell.tabIndex = -1;
        const place = hit.place.length ? `y ${hit.place[0]}, x ${hit.place[1]}` : null;
        const leads = kind === "patches" ? "to the picture" : "to the hit";
        cell.title = `${[hit.value, name, label, place].filter(Boolean).join(" · ")} → ${leads}`;
        for (const [event, on] of [["pointerenter", true], ["pointerleave", false]]) {
          cell.addEventListener(event, () => sheets.forEach((each) => each.children[rank].classList.toggle("on", on)));
        }
        cells.append(cell);
      });
      return cells;
    });
    pair.append(...sheets);
  };
  const bare = (target) => {
    const pair = target.closest(".pair");
    return pair?.closest("[data-hits]") && !pair.querySelector(".cells") ? pair : null;
  };
  document.addEventListener("pointerover", (event) => {
    const pair = event.pointerType === "touch" ? null : bare(event.target);
    if (pair) cover(pair);
  });
  document.addEventListener("click", (event) => {
    const pair = event.pointerType === "touch" ? bare(event.target) : null;
    if (!pair) return;
    cover(pair);
    const under = document.elementsFromPoint(event.clientX, event.clientY).find((each) => each.matches(".cells a"));
    if (!under) return;
    event.preventDefault();
    under.click();
  });
}

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

  // Whoever dictates, or goes by keys alone, may need them for something else: then this browser remembers it, where it
  // remembers anything of this page. Elements that no key leads to do not say so.
  const single = document.getElementById("single-keys");
  const led = [...document.querySelectorAll("[aria-keyshortcuts]")].map((element) => [element, element.ariaKeyShortcuts]);
  const turn = (on) => {
    single.checked = on;
    for (const [element, key] of led) element.ariaKeyShortcuts = on ? key : null;
  };
  const stored = () => {
    try {
      turn(localStorage.getItem("pixelward-keys") !== "off");
    } catch {} // a browser that stores nothing
  };
  single.addEventListener("change", () => {
    turn(single.checked);
    try {
      localStorage.setItem("pixelward-keys", single.checked ? "on" : "off");
    } catch {}
  });
  addEventListener("pageshow", stored); // also of a page that is gone back to
  stored();

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
}

// On the page of a picture one field at a time is marked: of the unit that is pointed at or has the focus, or, for
// fingers, whose button was tapped last.
{
  let marked = null;
  let pressed = null;
  const mark = (field) => {
    marked?.classList.remove("on");
    marked = field;
    marked?.classList.add("on");
    document.querySelector(".photo > svg").classList.toggle("chosen", Boolean(marked));
  };
  const press = (button, field) => {
    const again = button === pressed;
    pressed?.setAttribute("aria-pressed", "false");
    pressed = again ? null : button;
    pressed?.setAttribute("aria-pressed", "true");
    mark(again ? null : field);
  };
  for (const entry of document.querySelectorAll("[data-field]")) {
    const field = document.getElementById(entry.dataset.field);
    entry.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && mark(field));
    entry.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && mark(null));
    entry.addEventListener("focus", () => mark(field));
    entry.addEventListener("blur", () => mark(null));
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", `Show the field of ${field.querySelector("title").textContent}`);
    button.addEventListener("click", () => press(button, field));
    entry.after(button);
  }
}

// What can be scrolled sideways fades where it is cut.
{
  const FADE = 48; // pixels
  const fade = (each) => {
    const hidden = each.scrollWidth - each.clientWidth;
    each.classList.toggle("cut", hidden > 0);
    each.style.setProperty("--before", `${Math.min(each.scrollLeft, FADE)}px`);
    each.style.setProperty("--after", `${Math.min(hidden - each.scrollLeft, FADE)}px`);
  };
  const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => fade(target)));
  for (const each of document.querySelectorAll(".scrolls")) {
    resized.observe(each);
    each.addEventListener("scroll", () => fade(each), { passive: true });
    // Browsers leave alone sideways what they take for visible enough, whatever the padding says.
    each.addEventListener("focusin", ({ target }) => {
      if (!target.matches(":focus-visible")) return; // what is clicked must not move
      const [room, box] = [each, target].map((one) => one.getBoundingClientRect());
      const [before, after] = [room.left + FADE - box.left, box.right + FADE - room.right];
      if (before > 0) each.scrollLeft -= before;
      else if (after > 0) each.scrollLeft += after;
    });
  }
}
