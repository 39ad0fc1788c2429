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
    get strength() { return Number(item.getAttribute("data-strength")); },
    get positive() { return Number(item.getAttribute("data-positive")); },
    get entropy() { return Number(item.getAttribute("data-entropy") ?? Infinity); },
    get hits() { return item.getAttribute("data-hits").split(";").length; },
  }));
  const unitOf = new Map(units.map((unit) => [unit.item, unit]));
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
  // by: smaller comes first. Equal ones are told apart by `then`, at last by their numbers. text: where it is not the one
  // that stands in the page, the strongest value.
  const MEASURES = {
    index: { by: (unit) => unit.number },
    strength: { by: (unit) => -unit.strength },
    sparsity: { by: (unit) => unit.positive, text: (unit) => share(unit.positive) },
    selectivity: {
      by: (unit) => unit.entropy,
      then: (unit) => -unit.hits, // one hit is always of one label
      text: (unit) => (unit.entropy === Infinity ? "no label" : `${unit.entropy.toFixed(2)} bits`),
    },
  };

  // What is sorted by is read once of each unit, and what was sorted once is kept: a page's numbers stay the same.
  const ranked = {};
  const ranks = (sort) => {
    const { by, then = () => 0 } = MEASURES[sort];
    const [first, second] = [by, then].map((key) => Float64Array.from(units, key));
    const places = units.map((_, at) => at);
    const known = places.filter((at) => first[at] !== Infinity);
    known.sort((a, b) => first[a] - first[b] || second[a] - second[b] || a - b);
    const rest = places.filter((at) => first[at] === Infinity);
    return [known, rest].map((some) => some.map((at) => units[at]));
  };
  const ordered = (sort, reversed) => {
    const [known, rest] = (ranked[sort] ??= ranks(sort));
    return [...(reversed ? [...known].reverse() : known), ...rest];
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

  const chosen = () => ({ ...DEFAULTS, ...Object.fromEntries(new FormData(form)) });
  let { show, sort, reversed } = DEFAULTS;
  let sorted = units;
  let shown = units;

  // Beside a unit's number stands what it is sorted by, once the unit comes into the page.
  const dress = (item) => {
    const unit = unitOf.get(item);
    const value = item.querySelector("h2 span");
    unit.strongest ??= value.textContent;
    const text = MEASURES[sort].text?.(unit) ?? unit.strongest;
    if (value.textContent !== text) value.textContent = text;
  };
  const lists = new Lists(list, 120, 24, dress); // 120 as in the page

  const apply = () => {
    const choice = chosen();
    const wanted = asked(choice.unit);
    list.dataset.show = choice.show;

    const anew = choice.sort !== sort || choice.reversed !== reversed;
    if (anew) {
      ({ sort, reversed } = choice);
      sorted = ordered(sort, reversed);
      said.textContent = said.dataset[sort];
    }

    const labelled = (unit) => picturesOf(unit).some((picture) => tiles.pictures(list)[picture][2] === choice.label);
    const passing = sorted.filter(
      (unit) => choice.state !== "dead" && wanted(unit) && (!choice.label || labelled(unit)),
    );
    if (anew || passing.length !== shown.length || passing.some((unit, at) => unit !== shown[at])) {
      shown = passing;
      lists.show(shown.map((unit) => unit.item));
    } else if (choice.show !== show) {
      lists.measure();
    }
    show = choice.show;

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
    if (location.hash && (sort !== "index" || reversed || lists.many)) lists.reveal(location.hash.slice(1));
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
