// The live page: a picture is sent, its maps are painted, places are chosen in them. htmx asks for the panels.
"use strict";

{
  const byId = (id) => document.getElementById(id);
  const answer = byId("answer");
  const status = byId("status");
  // Which page asks, so that what it asks anew replaces what it asked before. (randomUUID is for secure pages only.)
  const page = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
  const asked = new URLSearchParams(location.search);
  // The layer and unit that are shown of the next picture too, and the place in that unit's map, which is not.
  const chosen = { layer: asked.get("layer"), channel: asked.get("unit"), place: null, order: "share", scale: "map" };
  if (asked.get("y") && asked.get("x")) chosen.place = { y: asked.get("y"), x: asked.get("x") }; // null: the strongest
  // They and the picture stand in the address, so that who comes back finds them, while the server keeps the picture.
  let token = asked.get("picture");
  const remember = () => {
    const kept = Object.entries({ layer: chosen.layer, unit: chosen.channel, picture: token, ...chosen.place });
    const query = String(new URLSearchParams(kept.filter(([, value]) => value)));
    history.replaceState(null, "", `${query ? `?${query}` : location.pathname}${location.hash}`);
  };

  const say = (text) => { status.textContent = text; };
  // What is told stays until something is chosen again: no answer to what was asked before takes it back.
  let told = false;
  const tell = (text) => {
    told = true;
    say(text);
  };
  const takeBack = () => {
    if (told) say("");
    told = false;
  };
  document.addEventListener("click", (event) => { if (event.target.closest("button, #place")) takeBack(); }, true);
  for (const done of ["change", "drop", "paste", "submit"]) document.addEventListener(done, takeBack, true);
  const sayLooking = () => {
    told = false;
    say("The network looks at it …");
  };
  const UNREACHABLE = "The server does not answer. Is it still running?";
  const unreachable = () => tell(UNREACHABLE);

  // Elements that wait for their piece, and for how long now; after LATE milliseconds the status says so too.
  const LATE = 1000;
  const WORKING = "The network is at work …";
  const waiting = new Map();
  const late = new Set();
  const wait = (target) => {
    target.setAttribute("aria-busy", "true");
    if (waiting.has(target)) return;
    waiting.set(target, setTimeout(() => {
      late.add(target);
      if (!status.textContent) say(WORKING);
    }, LATE));
  };
  const rest = (target) => {
    target.removeAttribute("aria-busy");
    clearTimeout(waiting.get(target));
    waiting.delete(target);
    late.delete(target);
    if (!late.size && status.textContent === WORKING) say("");
  };
  const answered = () => { if (!told) say(late.size ? WORKING : ""); };

  // A picture that was refused takes the place of the one before, in the address too.
  const forget = () => {
    token = null;
    chosen.place = null;
    byId("spoken").textContent = "";
    remember();
  };

  // The maps of the layer before are still there, where those that were chosen did not come.
  const restore = () => {
    const choice = byId("choice");
    for (const name of ["layer", "order", "scale"]) if (chosen[name]) choice[name].value = chosen[name];
  };

  // Ask for a piece of the page and put it into an element; what was asked for it before is given up.
  const asking = new WeakMap();
  const giveUp = (target) => asking.get(target)?.abort?.();
  const ask = async (target, address, options = {}) => {
    giveUp(target);
    const ours = new AbortController();
    asking.set(target, ours);
    wait(target);
    const end = () => {
      if (asking.get(target) !== ours) return; // another waits for it
      asking.delete(target);
      rest(target);
    };
    try {
      const headers = { "hx-request": "true", "x-pixelward-page": page };
      const reply = await fetch(address, { ...options, headers, signal: ours.signal });
      const text = await reply.text();
      if (reply.status === 204) return; // another was asked for meanwhile
      end();
      answered();
      htmx.swap(target, text, { swapStyle: "innerHTML" });
      if (options.body && !target.querySelector(".tried")) forget();
    } catch (error) {
      if (error.name === "AbortError") return;
      unreachable();
      if (target.id === "maps") restore();
    } finally {
      end();
    }
  };

  // Upload

  const send = (picture, name) => {
    if (picture.size > Number(answer.dataset.bytes)) {
      tell(`${name || "This picture"} has ${(picture.size / 1e6).toFixed(0)} MB, more than are taken. Save it smaller, and try that.`);
      return;
    }
    sayLooking();
    ask(answer, `${answer.dataset.upload}?name=${encodeURIComponent(name)}`, { method: "POST", body: picture });
  };

  const file = byId("file");
  file.addEventListener("change", () => {
    if (file.files[0]) send(file.files[0], file.files[0].name);
    file.value = ""; // so that the same file can be chosen again
  });

  const drop = byId("drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dropped = event.dataTransfer.files[0];
    if (dropped) send(dropped, dropped.name);
    else tell("That was no file. Save the picture first, then drop the file here.");
  });
  document.addEventListener("paste", (event) => {
    const pasted = event.clipboardData.files[0];
    if (pasted) send(pasted, pasted.name);
  });

  // Camera

  const camera = byId("camera");
  const video = byId("video");
  const viewfinder = byId("viewfinder");
  camera.hidden = !navigator.mediaDevices?.getUserMedia; // there is none for pages that are not secure
  const turnOff = () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    viewfinder.hidden = true;
    camera.hidden = false;
    camera.focus();
  };
  camera.addEventListener("click", async () => {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (video.srcObject) { // asked for twice, before it was allowed
        stream.getTracks().forEach((track) => track.stop());
        return;
      }
      video.srcObject = stream;
    } catch {
      tell("The camera cannot be used. Allow it in the browser, or choose a file.");
      return;
    }
    viewfinder.hidden = false;
    camera.hidden = true;
    byId("shoot").disabled = true; // until there is a picture to take
    try {
      await video.play();
    } catch {
      if (!video.srcObject) return; // turned off meanwhile
      turnOff();
      tell("The camera gives no picture. Choose a file instead.");
      return;
    }
    byId("shoot").disabled = false;
    byId("shoot").focus();
  });
  byId("stop").addEventListener("click", turnOff);
  byId("shoot").addEventListener("click", () => {
    const frame = document.createElement("canvas");
    frame.width = video.videoWidth;
    frame.height = video.videoHeight;
    frame.getContext("2d").drawImage(video, 0, 0);
    frame.toBlob((picture) => picture && send(picture, "camera"), "image/png");
  });

  // Panels

  // The address says what is chosen, also of a unit that cannot be projected.
  const project = (address, place) => {
    chosen.place = place;
    remember();
    ask(byId("unit"), place ? `${address}?${new URLSearchParams(place)}` : address);
  };

  const move = (place, y, x) => {
    const inside = (value, count) => Math.min(Math.max(value, 0), Number(count) - 1);
    place.dataset.y = inside(y, place.dataset.rows);
    place.dataset.x = inside(x, place.dataset.columns);
    const mark = place.querySelector("rect");
    mark.setAttribute("y", place.dataset.y);
    mark.setAttribute("x", place.dataset.x);
    project(place.dataset.unit, { y: place.dataset.y, x: place.dataset.x });
  };

  let currentMaps = null;
  let earlyNumber = null; // given while maps are still to come, of a unit among these

  // Of two changes the newer is shown, whichever is answered first.
  const look = (choice) => {
    earlyNumber = null;
    ask(byId("maps"), `${choice.dataset.maps}?${new URLSearchParams(new FormData(choice))}`);
  };
  answer.addEventListener("change", (event) => {
    const choice = event.target.closest("#choice");
    if (choice) look(choice);
  });

  const choose = (map, place = null) => {
    chosen.channel = map.dataset.channel;
    for (const each of map.closest(".maps").querySelectorAll("button")) each.setAttribute("aria-pressed", each === map);
    project(map.dataset.unit, place);
  };

  // The map of a unit, which joins those that are listed if it is not among them; null, and why, if there is none.
  const mapOf = (root, text) => {
    const last = Number(root.dataset.units) - 1;
    const there = /^\d+$/.test(text) && Number(text) <= last;
    const what = text === "" ? "That is no number" : `There is no unit ${text}`;
    byId("no-unit").textContent = there ? "" : `${what}: ${root.dataset.address} has units 0 to ${last}.`;
    if (!there) return null;
    const channel = Number(text);
    const listed = root.querySelector(`button[data-channel="${channel}"]`);
    if (listed) return listed;
    const item = root.querySelector(".maps li").cloneNode(true);
    const map = item.querySelector("button");
    map.dataset.channel = channel;
    map.dataset.unit = map.dataset.unit.replace(/\d+\.html$/, `${channel}.html`);
    map.setAttribute("aria-label", `Unit ${channel}`);
    map.querySelector("b").textContent = channel;
    map.querySelector("span").replaceChildren(map.querySelector("b"));
    root.querySelector(".maps").prepend(item);
    paint(root);
    return map;
  };

  // A place, if the maps of a layer have it; else null, and why.
  const placeOf = (root, place) => {
    if (!place) return null;
    const sides = root.dataset.map?.split(" ");
    const inside = (at, side) => /^\d+$/.test(at) && Number(at) < Number(side);
    if (sides && inside(place.y, sides[0]) && inside(place.x, sides[1])) return place;
    const why = sides ? `the maps of ${root.dataset.address} have ${sides.join(" × ")} places` : `${root.dataset.address} has no maps`;
    byId("no-unit").textContent = `There is no place y ${place.y}, x ${place.x}: ${why}${sides ? "; here is the strongest" : ""}.`;
    return null;
  };

  answer.addEventListener("submit", (event) => {
    if (event.target.id !== "number") return;
    event.preventDefault();
    const root = answer.querySelector(".of-layer");
    const text = event.target.unit.value;
    if (asking.has(byId("maps")) || root !== currentMaps) {
      earlyNumber = text;
      return;
    }
    const map = root && mapOf(root, text);
    if (map) reveal(root, map);
  });

  const reveal = (root, map, place = null) => {
    const list = root.querySelector(".maps"); // where they scroll
    list.scrollTop = map.offsetTop - list.querySelector("button").offsetTop;
    choose(map, place);
  };

  answer.addEventListener("click", (event) => {
    const map = event.target.closest(".maps button");
    const place = event.target.closest("#place");
    if (map) {
      earlyNumber = null;
      byId("no-unit").textContent = "";
      choose(map);
    } else if (place) {
      if (event.detail) { // by a pointer, not a key
        const box = place.getBoundingClientRect();
        move(
          place,
          Math.floor(((event.clientY - box.top) / box.height) * place.dataset.rows),
          Math.floor(((event.clientX - box.left) / box.width) * place.dataset.columns),
        );
      } else {
        move(place, place.dataset.y, place.dataset.x);
      }
    }
  });

  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  answer.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const place = event.target.closest("#place");
    if (!step || !place || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    takeBack();
    move(place, Number(place.dataset.y) + step[0], Number(place.dataset.x) + step[1]);
  });

  // What htmx asks for: pictures of the atlas.
  document.body.addEventListener("htmx:configRequest", ({ detail }) => {
    detail.headers["x-pixelward-page"] = page;
    giveUp(detail.target);
  });
  document.body.addEventListener("htmx:beforeRequest", ({ detail }) => {
    asking.set(detail.target, { xhr: detail.xhr }); // which htmx would call an error if it were aborted
    wait(detail.target);
    sayLooking();
  });
  document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (asking.get(detail.target)?.xhr !== detail.xhr) detail.shouldSwap = false;
  });
  document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (asking.get(detail.target)?.xhr !== detail.xhr) return; // another waits for it
    asking.delete(detail.target);
    rest(detail.target);
    if (detail.xhr.status !== 204) answered();
  });
  document.body.addEventListener("htmx:sendError", unreachable);

  const sheets = new WeakMap(); // of a panel, asked for once
  const sheetOf = async (root) => {
    try {
      const reply = await fetch(root.dataset.sheet, { headers: { "x-pixelward-page": page, "hx-request": "true" } });
      return reply.status === 200 ? await createImageBitmap(await reply.blob()) : null; // 204: a newer question
    } catch {
      if (root.isConnected) unreachable();
      return null;
    }
  };
  const paint = async (root) => {
    if (!sheets.has(root)) sheets.set(root, sheetOf(root));
    const sheet = await sheets.get(root);
    if (!sheet) return;
    const columns = Number(root.dataset.columns);
    for (const button of root.querySelectorAll("button")) {
      const canvas = button.querySelector("canvas");
      const channel = Number(button.dataset.channel);
      const left = (channel % columns) * (canvas.width + 1);
      const top = Math.floor(channel / columns) * (canvas.height + 1);
      canvas.getContext("2d").drawImage(sheet, -left, -top);
    }
    root.dataset.painted = "";
  };

  const shows = { // what is done with a panel once it is there
    tried: (root) => {
      if (status.textContent === UNREACHABLE) takeBack(); // that was of the picture before
      if (root.dataset.token !== token) chosen.place = null;
      token = root.dataset.token;
      remember();
      const choice = root.querySelector("#choice");
      const has = [...choice.layer.options].some((option) => option.value === chosen.layer);
      if (has) choice.layer.value = chosen.layer;
      choice.order.value = chosen.order;
      choice.scale.value = chosen.scale;
      look(choice);
    },
    "of-layer": (root) => {
      paint(root);
      const choice = byId("choice");
      // Of the panel that came: another layer may be chosen already.
      const { layer } = root.dataset;
      const same = chosen.layer === null || chosen.layer === layer;
      Object.assign(chosen, { layer, order: choice.order.value, scale: choice.scale.value });
      currentMaps = root;
      byId("no-unit").textContent = "";
      const early = earlyNumber !== null && mapOf(root, earlyNumber);
      const why = byId("no-unit").textContent; // there is no such unit
      earlyNumber = null;
      const before = !early && same && chosen.channel !== null && mapOf(root, chosen.channel);
      if (early) reveal(root, early);
      else if (before) reveal(root, before, placeOf(root, chosen.place));
      else choose(root.querySelector(".maps button"));
      if (why) byId("no-unit").textContent = why;
    },
    "of-unit": (root) => {
      byId("spoken").textContent = root.dataset.told;
      remember();
    },
  };

  htmx.onLoad((root) => {
    if (root.isConnected) shows[root.classList?.[0]]?.(root);
  });

  if (token) {
    sayLooking();
    ask(answer, answer.dataset.tried.replace("TOKEN", encodeURIComponent(token)));
  }
}
