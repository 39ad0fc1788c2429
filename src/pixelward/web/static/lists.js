// Items of a page in lists of which only those near the window are laid out. A browser passes over a list that is far
// away, if it knows how high the list is: so items stand in lists of whole rows, each of which is told its height. The
// first one is always laid out, and tells the others.
// Of very many items, lists that are far away are empty: else the browser asks of each of their pictures, at every step
// of the scrolling, whether it has come near. Which lists are near is worked out from their places when the page is
// scrolled, before the frame is drawn, so that even a fling shows no gap. On paper all are there.
// Where columns change, items go into other lists: what stood in the window is put back there, and so is the focus.
"use strict";

class Lists {
  static MANY = 1000;
  static BEYOND = 1; // heights of the window above and below it that hold items
  static FLUNG = 1.2; // heights of the window in the last few frames
  static REST = 250; // milliseconds without such haste, and a fling is over

  // size: items of a list; few: the same where there are very many. dress: what is done to items that come into the page.
  constructor(parent, size, few, dress = () => {}) {
    Object.assign(this, { parent, sizes: [size, few], dress, items: [], filled: new Set(), tops: [] });
    Object.assign(this, { width: 0, columns: 1, paper: false, at: scrollY, then: 0, haste: 0, landing: 0 });
    this.stood = null;
    addEventListener("scroll", () => (this.hurry(), this.follow(), this.note()), { passive: true });
    addEventListener("resize", () => this.follow(), { passive: true });
    // An address may name an item of an empty list.
    addEventListener("hashchange", () => this.many && this.reveal(location.hash.slice(1)));
    for (const [event, paper] of [["beforeprint", true], ["afterprint", false]]) {
      addEventListener(event, () => {
        this.paper = paper;
        this.follow();
        // What comes for paper is asked for at once: no window will come near it.
        if (paper) for (const image of this.parent.querySelectorAll("img")) image.loading = "eager";
      });
    }
    new ResizeObserver(() => (parent.clientWidth === this.width ? this.place() : this.measure())).observe(parent);
  }

  get many() {
    return this.items.length > Lists.MANY;
  }

  // Items of a list: whole rows.
  get size() {
    return this.columns * Math.max(Math.round(this.sizes[Number(this.many)] / this.columns), 1);
  }

  show(items) {
    this.items = items;
    this.stood = null; // in another order it stands somewhere else
    this.group();
    this.measure();
    this.note();
  }

  group() {
    const { size, many } = this;
    const focused = this.parent.contains(document.activeElement) ? document.activeElement : null;
    const lists = [];
    for (let start = 0; start < this.items.length; start += size) {
      const list = document.createElement("ol");
      list.members = this.items.slice(start, start + size);
      if (!start || !many) this.put(list);
      lists.push(list);
    }
    this.filled = new Set();
    this.parent.classList.toggle("many", many);
    this.parent.replaceChildren(...lists);
    if (!focused) return;
    const list = this.listOf(focused.closest("li"));
    if (list) this.fill(list);
    focused.focus({ preventScroll: true });
  }

  listOf(item) {
    return [...this.parent.children].find((list) => list.members.includes(item));
  }

  // Tell the lists their heights, and group anew where rows would not be whole.
  measure() {
    const first = this.parent.firstElementChild;
    if (!first) return;
    this.width = this.parent.clientWidth;
    const style = getComputedStyle(first);
    this.columns = style.gridTemplateColumns.split(" ").length;
    if (first.childElementCount !== Math.min(this.size, this.items.length)) return void (this.group(), this.measure());
    const gap = parseFloat(style.rowGap);
    const room = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
    const rows = (list) => Math.ceil(list.members.length / this.columns);
    const row = (first.getBoundingClientRect().height - room + gap) / rows(first);
    for (const list of this.parent.children) {
      const high = rows(list) * row - gap;
      list.style.containIntrinsicBlockSize = `${high}px`;
      list.style.minBlockSize = this.many && !list.childElementCount ? `${high + room}px` : "";
    }
    this.place();
    this.putBack();
  }

  // The first item that begins in the window, and where; none while the window shows what is above the lists. Kept until
  // the page is scrolled by somebody else than `putBack`, so that who goes through all columns ends where they began.
  note() {
    if (this.paper || this.parent.clientWidth !== this.width || this.stood?.at === scrollY) return;
    const top = (each) => each.getBoundingClientRect().top;
    this.stood = null;
    if (!this.items.length || top(this.parent) >= 0) return;
    const first = (all, from) => {
      let [low, high] = [0, all.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (top(all[middle]) < from) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    const lists = [...this.parent.children];
    const next = first(lists, 0);
    const { children } = lists[Math.max(next - 1, 0)];
    const item = children[first(children, 0)] ?? lists[next]?.firstElementChild ?? children[children.length - 1];
    if (item) this.stood = { item, top: top(item), at: scrollY };
  }

  putBack() {
    const { stood } = this;
    const list = stood && !this.paper && this.listOf(stood.item);
    if (!list) return;
    this.fill(list);
    scrollBy(0, stood.item.getBoundingClientRect().top - stood.top);
    stood.at = scrollY;
    this.follow();
  }

  // Where the lists are now: those that hold items may be higher or lower than was thought.
  place() {
    if (!this.many) return;
    const from = this.parent.getBoundingClientRect().top;
    this.tops = Array.from(this.parent.children, (list) => list.getBoundingClientRect().top - from);
    this.follow();
  }

  // Fill the lists near the window, empty the others.
  follow() {
    if (!this.many) return;
    const near = new Set(this.near());
    const left = [...this.filled].filter((list) => !near.has(list) && !list.contains(document.activeElement));
    const heights = left.map((list) => list.getBoundingClientRect().height);
    left.forEach((list, at) => this.empty(list, heights[at]));
    for (const list of near) this.fill(list);
  }

  near() {
    const lists = [...this.parent.children];
    if (this.paper) return lists;
    const above = -this.parent.getBoundingClientRect().top;
    const beyond = Lists.BEYOND * innerHeight;
    return lists.slice(this.before(above - beyond), this.before(above + innerHeight + beyond) + 1);
  }

  // The last list that begins above a height.
  before(height) {
    let [low, high] = [0, this.tops.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.tops[middle] <= height) low = middle;
      else high = middle;
    }
    return low;
  }

  put(list) {
    list.members.forEach(this.dress);
    list.append(...list.members);
  }

  fill(list) {
    if (list.childElementCount) return;
    list.style.minBlockSize = "";
    if (this.landing) list.classList.add("flung");
    this.put(list);
    this.filled.add(list);
  }

  empty(list, height) {
    list.classList.remove("flung");
    list.style.minBlockSize = `${height}px`;
    list.replaceChildren();
    this.filled.delete(list);
  }

  // Lists that come while the page is flung have no pictures yet: each would be seen in some four frames, and make these
  // late. A jump is no fling.
  hurry() {
    if (!this.many) return;
    const now = performance.now();
    this.haste = now - this.then > Lists.REST ? 0 : 0.8 * this.haste;
    this.haste += Math.min(Math.abs(scrollY - this.at), innerHeight);
    Object.assign(this, { at: scrollY, then: now });
    if (this.haste < Lists.FLUNG * innerHeight) return;
    clearTimeout(this.landing);
    this.landing = setTimeout(() => this.land(), Lists.REST);
  }

  land() {
    this.landing = 0;
    for (const list of this.filled) list.classList.remove("flung");
  }

  // An item is marked as the one that the address names where it is in the page when the browser goes to the address.
  reveal(id) {
    const item = this.items.find((each) => each.id === id);
    if (!item) return void document.getElementById(id)?.scrollIntoView();
    this.fill(this.listOf(item));
    if (document.querySelector(":target") !== item) location.replace(location.hash);
    else item.scrollIntoView();
  }
}

// Items that no other script sorts or filters.
{
  const parent = document.querySelector("[data-unsorted]");
  const items = parent ? [...parent.querySelectorAll("li")] : [];
  if (items.length > Lists.MANY) {
    const lists = new Lists(parent, 40, 12); // 40 as in the page
    lists.show(items);
    if (location.hash) lists.reveal(location.hash.slice(1));
  }
}
