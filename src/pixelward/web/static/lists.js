// Items of a page in lists of which only those near the window are laid out. A browser passes over a list that is far
// away, if it knows how high the list is: so items stand in lists of whole rows, each of which is told its height. The
// first one is always laid out, and tells the others.
// Of very many items, lists that are far away are empty: else the browser asks of each of their pictures, at every step
// of the scrolling, whether it has come near. Which lists are near is worked out from their places when the page is
// scrolled, before the frame is drawn, so that even a fling shows no gap.
"use strict";

class Lists {
  static MANY = 1000;
  static BEYOND = 1; // heights of the window above and below it that hold items

  // size: items of a list; few: the same where there are very many.
  constructor(parent, size, few) {
    Object.assign(this, { parent, sizes: [size, few], items: [], filled: new Set(), tops: [], width: 0 });
    for (const event of ["scroll", "resize"]) addEventListener(event, () => this.follow(), { passive: true });
    new ResizeObserver(() => (parent.clientWidth === this.width ? this.place() : this.measure())).observe(parent);
  }

  get many() {
    return this.items.length > Lists.MANY;
  }

  get size() {
    return this.sizes[Number(this.many)];
  }

  show(items) {
    this.items = items;
    this.group(this.size);
    this.measure();
  }

  group(size) {
    const lists = [];
    for (let start = 0; start < this.items.length; start += size) {
      const list = document.createElement("ol");
      list.members = this.items.slice(start, start + size);
      if (!start || !this.many) list.append(...list.members);
      lists.push(list);
    }
    this.filled = new Set();
    this.parent.classList.toggle("many", this.many);
    this.parent.replaceChildren(...lists);
  }

  // Tell the lists their heights, and group anew where rows would not be whole.
  measure() {
    const first = this.parent.firstElementChild;
    if (!first) return;
    this.width = this.parent.clientWidth;
    const style = getComputedStyle(first);
    const columns = style.gridTemplateColumns.split(" ").length;
    const size = columns * Math.max(Math.round(this.size / columns), 1);
    if (this.items.length > size && first.childElementCount !== size) return void (this.group(size), this.measure());
    const gap = parseFloat(style.rowGap);
    const room = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
    const rows = (list) => Math.ceil((list.members?.length ?? list.childElementCount) / columns);
    const row = (first.getBoundingClientRect().height - room + gap) / rows(first);
    for (const list of this.parent.children) {
      const high = rows(list) * row - gap;
      list.style.containIntrinsicBlockSize = `${high}px`;
      list.style.minBlockSize = this.many && !list.childElementCount ? `${high + room}px` : "";
    }
    this.place();
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
    const above = -this.parent.getBoundingClientRect().top;
    const lists = this.parent.children;
    const near = new Set();
    const beyond = Lists.BEYOND * innerHeight;
    for (let at = this.before(above - beyond); at < lists.length && this.tops[at] < above + innerHeight + beyond; at++) {
      near.add(lists[at]);
    }
    const left = [...this.filled].filter((list) => !near.has(list) && !list.contains(document.activeElement));
    const heights = left.map((list) => list.getBoundingClientRect().height);
    left.forEach((list, at) => this.empty(list, heights[at]));
    for (const list of near) this.fill(list);
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

  fill(list) {
    if (list.childElementCount) return;
    list.style.minBlockSize = "";
    list.append(...list.members);
    this.filled.add(list);
  }

  empty(list, height) {
    list.style.minBlockSize = `${height}px`;
    list.replaceChildren();
    this.filled.delete(list);
  }

  reveal(id) {
    const list = [...this.parent.children].find((each) => each.members?.some((item) => item.id === id));
    if (list) this.fill(list);
    document.getElementById(id)?.scrollIntoView();
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
