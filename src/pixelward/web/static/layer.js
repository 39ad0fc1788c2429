// The units of a layer sorted, filtered and shown in other ways. Without this script the page shows all of them in order.
// What is chosen stands in the address, so that a view can be kept and sent.
"use strict";

{
  const form = document.getElementById("controls");
  const list = document.getElementById("units");
  const dead = document.getElementById("dead");
  const told = document.getElementById("told");
  const said = document.getElementById("measure");
  const nothing = document.getElementById("nothing");
  const seen = Number(list.dataset.seen);
  const DEFAULTS = { show: "both", sort: "index", reversed: "", label: "", state: "", unit: "" };

  const units = Array.from(list.querySelectorAll("li"), (item) => ({
    item,
    number: Number(item.id.slice(1)),
    value: item.querySelector("h2 span"),
    text: item.querySelector("h2 span").textContent,
    strength: Number(item.dataset.strength),
    positive: Number(item.dataset.positive),
    entropy: item.dataset.entropy === undefined ? Infinity : Number(item.dataset.entropy),
    hits: item.dataset.hits.split(";").length,
  }));
  // The numbers of a unit's pictures, read when they are first asked for.
  const picturesOf = (unit) => (unit.pictures ??= tiles.hits(unit.item).map((hit) => hit.picture));
  const corpses = dead ? Array.from(dead.querySelectorAll("a"), (link) => ({ link, number: Number(link.id.slice(1)) })) : [];

  // Numbers and shares are written as the server writes them (words.py): of two equally near ones the even one.
  const rounded = (value, digits) => {
    const near = value * 10 ** digits;
    const tie = Number.isInteger(value * 4) && near % 1 === 0.5;
    return (tie ? (2 * Math.round(near / 2)) / 10 ** digits : value).toFixed(digits);
  };
  const share = (part) => {
    const percent = seen ? (100 * part) / seen : 0;
    if (percent > 0 && percent < 0.1) return "below 0.1 %";
    if (percent > 99.9 && percent < 100) return "over 99.9 %";
    return `${rounded(percent, percent === 0 || percent === 100 || (percent >= 10 && percent < 99) ? 0 : 1)} %`;
  };
  // by: smaller comes first. Equal ones are told apart by `then`, at last by their numbers.
  const MEASURES = {
    index: { by: (unit) => unit.number, text: (unit) => unit.text },
    strength: { by: (unit) => -unit.strength, text: (unit) => unit.text },
    sparsity: { by: (unit) => unit.positive, text: (unit) => share(unit.positive) },
    selectivity: {
      by: (unit) => unit.entropy,
      then: (unit) => -unit.hits, // one hit is always of one label
      text: (unit) => (unit.entropy === Infinity ? "no label" : `${unit.entropy.toFixed(2)} bits`),
    },
  };

  const ordered = (sort, reversed) => {
    const { by, then = () => 0 } = MEASURES[sort];
    const known = units.filter((unit) => by(unit) !== Infinity);
    const rest = units.filter((unit) => by(unit) === Infinity);
    known.sort((a, b) => by(a) - by(b) || then(a) - then(b) || a.number - b.number);
    return [...(reversed ? known.reverse() : known), ...rest];
  };

  // "7, 30-40", "unit 7", "#7", "u7": what is written of a unit's number, or of two with a hyphen between them.
  const NUMBER = "(?:units?\\s*|u|#)?(\\d+)";
  const RANGE = `${NUMBER}(?:\\s*[-–]\\s*${NUMBER})?`;
  const NUMBERS = new RegExp(`^${RANGE}(?:[\\s,;]+${RANGE})*$`, "i");

  // Letters without their marks and in one case: file systems write "ü" in two ways, and people leave its dots away.
  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  let folded = null;
  const ofPictures = () => (folded ??= tiles.pictures(list).map(([, name, label]) => plain(`${name} ${label ?? ""}`)));

  // A test of units for what is written: by their numbers, if that is what it says and a unit has one of them, else
  // whether a picture's name and label hold all its words. Nothing but hyphens and the like lets all pass.
  const asked = (text) => {
    const written = text.replace(/^[\s,;–-]+|[\s,;–-]+$/g, "");
    if (!written) return () => true;
    if (NUMBERS.test(written)) {
      const ranges = [...written.matchAll(new RegExp(RANGE, "gi"))].map(([, from, to]) => [Number(from), Number(to ?? from)]);
      const has = ({ number }) => ranges.some((ends) => Math.min(...ends) <= number && number <= Math.max(...ends));
      if (units.some(has) || corpses.some(has)) return has;
    }
    const words = plain(written).split(/[\s,;]+/).filter(Boolean);
    const fitting = ofPictures().map((name) => words.every((word) => name.includes(word)));
    return (unit) => Boolean(unit.item) && picturesOf(unit).some((picture) => fitting[picture]); // a dead one has none
  };

  const lists = new Lists(list, 120, 24); // 120 as in the page
  let shown = units;

  const chosen = () => ({ ...DEFAULTS, ...Object.fromEntries(new FormData(form)) });
  let sorted = units;
  let order = "index";

  const apply = () => {
    const choice = chosen();
    const wanted = asked(choice.unit);
    list.dataset.show = choice.show;

    const next = choice.sort + choice.reversed;
    if (next !== order) {
      sorted = ordered(choice.sort, choice.reversed);
      for (const unit of units) unit.value.textContent = MEASURES[choice.sort].text(unit);
      said.textContent = said.dataset[choice.sort];
      order = next;
    }

    const labelled = (unit) => picturesOf(unit).some((picture) => tiles.pictures(list)[picture][2] === choice.label);
    const passing = sorted.filter(
      (unit) => choice.state !== "dead" && wanted(unit) && (!choice.label || labelled(unit)),
    );
    if (passing.length !== shown.length || passing.some((unit, at) => unit !== shown[at])) {
      shown = passing;
      lists.show(shown.map((unit) => unit.item));
    }
    lists.measure();

    let still = 0;
    for (const corpse of corpses) {
      const passes = choice.state !== "alive" && !choice.label && wanted(corpse);
      corpse.link.parentElement.hidden = !passes;
      still += passes;
    }
    if (dead) {
      dead.hidden = !still;
      if (still && (choice.state === "dead" || choice.unit)) dead.open = true;
    }
    const every = units.length + corpses.length;
    const found = shown.length + still;
    nothing.textContent = found ? "" : nothing.dataset.told;
    told.textContent = `${found === every ? "" : `${found.toLocaleString("en")} of `}${every.toLocaleString("en")} ${every === 1 ? "unit" : "units"}`;
  };

  const remember = () => {
    const choice = chosen();
    const kept = String(new URLSearchParams(Object.entries(choice).filter(([name, value]) => value !== DEFAULTS[name])));
    history.replaceState(null, "", `${kept ? `?${kept}` : location.pathname}${location.hash}`);
  };

  const recall = () => {
    const kept = new URLSearchParams(location.search);
    for (const [name, usual] of Object.entries(DEFAULTS)) { // an address may have other names, which mean nothing here
      const value = kept.get(name) ?? usual;
      const field = form.elements[name];
      if (!field) continue;
      if (field.type === "checkbox") field.checked = value !== "";
      else field.value = value;
      if (field.value === "" && usual) field.value = usual; // an address that asks for what is not there
    }
    lists.show(units.map((unit) => unit.item));
    apply();
    if (location.hash && (order !== "index" || lists.many)) lists.reveal(location.hash.slice(1));
  };

  form.addEventListener("input", () => {
    apply();
    remember();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const only = [...shown.map((unit) => unit.item), ...corpses.map(({ link }) => link.parentElement).filter((each) => !each.hidden)];
    if (only.length === 1) only[0].querySelector("a").click();
  });
  recall();
}
