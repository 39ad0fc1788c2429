// The live page: a picture is sent, its maps are painted, places are chosen in them. htmx asks for the panels.
"use strict";

{
  const byId = (id) => document.getElementById(id);
  const answer = byId("answer");
  const status = byId("status");
  // Which page asks, so that what it asks anew replaces what it asked before. (randomUUID is for secure pages only.)
  const page = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("");
  const asked = new URLSearchParams(location.search);
  // The layer and unit to show of the next picture as well.
  const chosen = { layer: asked.get("layer"), channel: asked.get("unit"), order: "share", scale: "map" };
  let sending = null; // what ends the upload that is under way

  const say = (text) => { status.textContent = text; };

  // Upload

  const send = async (picture, name) => {
    if (picture.size > Number(answer.dataset.bytes)) {
      say(`${name || "This picture"} has ${(picture.size / 1e6).toFixed(0)} MB, more than are taken. Save it smaller, and try that.`);
      return;
    }
    sending?.abort();
    htmx.trigger(answer, "htmx:abort");
    const ours = (sending = new AbortController());
    say("The network looks at it …");
    answer.setAttribute("aria-busy", "true");
    try {
      const reply = await fetch(`${answer.dataset.upload}?name=${encodeURIComponent(name)}`, {
        method: "POST", body: picture, signal: ours.signal,
        headers: { "content-type": "application/octet-stream", "hx-request": "true", "x-pixelward-page": page },
      });
      const text = await reply.text();
      if (ours.signal.aborted || reply.status === 409) return;
      say("");
      htmx.swap(answer, text, { swapStyle: "innerHTML" });
    } catch (error) {
      if (error.name !== "AbortError") say("The server does not answer. Is it still running?");
    } finally {
      if (sending === ours) answer.removeAttribute("aria-busy");
    }
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
    else say("That was no file. Save the picture first, then drop the file here.");
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
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      say("The camera cannot be used. Allow it in the browser, or choose a file.");
      return;
    }
    viewfinder.hidden = false;
    camera.hidden = true;
    await video.play();
    byId("shoot").focus();
  });
  byId("stop").addEventListener("click", turnOff);
  byId("shoot").addEventListener("click", () => {
    const frame = document.createElement("canvas");
    frame.width = video.videoWidth;
    frame.height = video.videoHeight;
    frame.getContext("2d").drawImage(video, 0, 0);
    frame.toBlob((picture) => send(picture, "camera"), "image/png");
  });

  // Panels

  const move = (place, y, x) => {
    const inside = (value, count) => Math.min(Math.max(value, 0), Number(count) - 1);
    place.dataset.y = inside(y, place.dataset.rows);
    place.dataset.x = inside(x, place.dataset.columns);
    const mark = place.querySelector("rect");
    mark.setAttribute("y", place.dataset.y);
    mark.setAttribute("x", place.dataset.x);
  };

  document.body.addEventListener("htmx:configRequest", ({ detail }) => {
    detail.headers["x-pixelward-page"] = page;
    if (detail.elt.closest(".samples")) sending?.abort();
    if (detail.elt.id !== "place") return;
    const click = detail.triggeringEvent;
    if (click?.detail) { // by a pointer
      const box = detail.elt.querySelector("svg").getBoundingClientRect();
      move(
        detail.elt,
        Math.floor(((click.clientY - box.top) / box.height) * detail.elt.dataset.rows),
        Math.floor(((click.clientX - box.left) / box.width) * detail.elt.dataset.columns),
      );
    }
    detail.parameters.y = detail.elt.dataset.y;
    detail.parameters.x = detail.elt.dataset.x;
  });

  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  document.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step || event.target.id !== "place" || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    move(event.target, Number(event.target.dataset.y) + step[0], Number(event.target.dataset.x) + step[1]);
    event.target.click();
  });

  document.body.addEventListener("htmx:beforeRequest", ({ detail }) => {
    detail.target.setAttribute("aria-busy", "true");
    const map = detail.elt.closest(".maps button");
    if (!map) return;
    chosen.channel = map.dataset.channel;
    for (const each of document.querySelectorAll(".maps button")) each.setAttribute("aria-pressed", each === map);
  });
  document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (!detail.xhr || detail.xhr.status) detail.target.removeAttribute("aria-busy");
  });
  document.body.addEventListener("htmx:sendError", ({ detail }) => {
    detail.target.removeAttribute("aria-busy");
    say("The server does not answer. Is it still running?");
  });

  const paint = async (root) => {
    const reply = await fetch(root.dataset.sheet, { headers: { "x-pixelward-page": page, "hx-request": "true" } });
    if (!reply.ok) return;
    const sheet = await createImageBitmap(await reply.blob());
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
      const choice = root.querySelector("#choice");
      const has = [...choice.layer.options].some((option) => option.value === chosen.layer);
      if (has) choice.layer.value = chosen.layer;
      choice.order.value = chosen.order;
      choice.scale.value = chosen.scale;
      htmx.trigger(choice, "change");
    },
    "of-layer": (root) => {
      paint(root);
      const choice = byId("choice");
      const same = chosen.layer === null || chosen.layer === choice.layer.value;
      Object.assign(chosen, { layer: choice.layer.value, order: choice.order.value, scale: choice.scale.value });
      const maps = [...root.querySelectorAll("button")];
      const before = same && maps.find((each) => each.dataset.channel === chosen.channel);
      (before || maps[0])?.click();
    },
    "of-unit": (root) => { byId("spoken").textContent = root.dataset.told; },
  };

  htmx.onLoad((root) => shows[root.classList?.[0]]?.(root));
}
