// Finds a cited sentence in the page's text, marks it and brings it into view.

import css from "./highlight.css";

/** A place in a page of the book. */
export interface Place {
  /** Id of the heading; empty for the start of the page. */
  id: string;
  /** The text directive of the address, such as `text=The%20tide,low%20water`. */
  directive: string;
  /** The excerpt of the citation. */
  excerpt: string;
}

/** In sessionStorage. The loader loads the app if it is there. */
const ARRIVAL_KEY = "quireArrival";

const NAME = "quire";
const ARRIVAL_MILLISECONDS = 30_000;
const TARGET_MILLISECONDS = 2_000;
const SETTLED_MILLISECONDS = 2_000;
const MAX_CHARACTERS = 2_000_000;
/** Characters of text between two turns of the event loop. */
const SLICE = 100_000;
/** Characters between the first words of a sentence and its last ones. */
const MAX_SENTENCE = 2_000;
const MAX_CANDIDATES = 8;
/** A shorter sentence could be anywhere. */
const MIN_CHARACTERS = 8;
const SKIPPED = "script, style, noscript, template, textarea, nav, quire-ask";
const SENTENCE_END = /(?<=[.!?।۔])\s+|(?<=[。！？])|\n/;
const MARGIN = 80;

let latest = 0;
let sheet: CSSStyleSheet | undefined;

/**
 * Show a place of this page: scroll, mark the sentence, focus the heading.
 *
 * `isArrival`: the page has just been loaded. The focus stays where the reader may have put it.
 */
export async function showPlace(place: Place, isArrival = false): Promise<void> {
  const mine = ++latest;
  clearHighlight();
  await whenReady(() => !place.id || !!elementOf(place.id), TARGET_MILLISECONDS);
  // Routers scroll in an animation frame after rendering.
  await nextFrame();
  await nextFrame();
  if (mine !== latest) return;
  const target = elementOf(place.id);
  const heading = headingOf(target);
  if (!isArrival || document.activeElement === document.body) focus(heading);
  const range = await findPassage(place, target);
  if (mine !== latest) return;
  reveal(range, heading);
  if (!range) return;
  // Some routers render a page twice: as they have kept it, and as it is.
  const node = range.startContainer;
  const page = pageOf(location);
  whenReady(() => !node.isConnected, SETTLED_MILLISECONDS).then((isGone) => {
    if (isGone && mine === latest && page === pageOf(location)) showPlace(place);
  });
  if (!("highlights" in CSS)) return;
  sheet ??= styleSheet();
  if (!document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets.push(sheet);
  CSS.highlights.set(NAME, new Highlight(range));
  document.addEventListener("click", clearOnClick);
}

export function clearHighlight(): void {
  if ("highlights" in CSS) CSS.highlights.delete(NAME);
  document.removeEventListener("click", clearOnClick);
}

/** Keep a place for the page that is loaded next, if it has this address. */
export function keepForArrival(address: URL, place: Place): void {
  store((storage) => {
    storage[ARRIVAL_KEY] = JSON.stringify({ ...place, page: pageOf(address), time: Date.now() });
  });
}

export function forgetArrival(): void {
  store((storage) => storage.removeItem(ARRIVAL_KEY));
}

/** Show the place that the previous page kept for this one. */
export async function highlightOnArrival(): Promise<void> {
  const entry = store((storage) => JSON.parse(storage[ARRIVAL_KEY] ?? null));
  forgetArrival();
  if (entry?.page !== pageOf(location)) return;
  if (Date.now() - entry.time < ARRIVAL_MILLISECONDS) await showPlace(entry, true);
}

/** The browser may forbid storage. Then it shows the place itself, without our mark. */
function store<T>(use: (storage: Storage) => T): T | undefined {
  try {
    return use(sessionStorage);
  } catch {
    return undefined;
  }
}

/** The page of an address: `/guide`, `/guide/` and `/guide/index.html` are one. */
export function pageOf({ origin, pathname, search }: URL | Location): string {
  return origin + pathname.replace(/(\/index)?(\.html)?\/?$/, "") + search;
}

export function elementOf(id: string): HTMLElement | null {
  return id ? document.getElementById(id) : null;
}

/** Wait for what a router renders. False if it takes longer. */
export function whenReady(isReady: () => boolean, milliseconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    if (isReady()) return resolve(true);
    const end = (ready: boolean) => {
      observer.disconnect();
      clearTimeout(timer);
      resolve(ready);
    };
    const observer = new MutationObserver(() => isReady() && end(true));
    const timer = setTimeout(end, milliseconds, false);
    observer.observe(document, { childList: true, subtree: true, characterData: true });
  });
}

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));
const nextTask = () => new Promise((resolve) => setTimeout(resolve));

function clearOnClick(event: Event): void {
  if (!(event.target instanceof Element && event.target.closest("quire-ask"))) clearHighlight();
}

function styleSheet(): CSSStyleSheet {
  const made = new CSSStyleSheet();
  made.replaceSync(css);
  return made;
}

function headingOf(target: HTMLElement | null): HTMLElement | null {
  const headings = "h1, h2, h3, h4, h5, h6";
  const root = target ?? mainOf(null);
  return root.matches(headings) ? root : (root.querySelector<HTMLElement>(headings) ?? target);
}

/** Readers with a keyboard or a screen reader go on from the heading. */
function focus(heading: HTMLElement | null): void {
  if (heading && !heading.hasAttribute("tabindex")) {
    heading.tabIndex = -1;
    heading.addEventListener("blur", () => heading.removeAttribute("tabindex"), { once: true });
  }
  heading?.focus({ preventScroll: true });
}

function mainOf(target: Element | null): HTMLElement {
  for (const each of ["main, [role=main]", "article"]) {
    const found = target ? target.closest<HTMLElement>(each) : document.querySelector<HTMLElement>(each);
    if (found) return found;
  }
  return document.body;
}

/** Bring the heading into view, then the passage if it is not. */
function reveal(range: Range | null, heading: Element | null): void {
  const start = range?.startContainer.parentElement;
  for (let each = start; each; each = each.parentElement) {
    if (each instanceof HTMLDetailsElement) each.open = true;
  }
  if (heading && !isInView(heading)) heading.scrollIntoView();
  if (!range || isInView(range)) return;
  // A long block of code would have its middle in view, and not the passage.
  if (start!.clientHeight < innerHeight) start!.scrollIntoView({ block: "center" });
  else scrollBy(0, range.getBoundingClientRect().top - innerHeight / 2);
}

/** Whether it is in view, or has no place in the layout. */
function isInView(part: Range | Element): boolean {
  const { top, bottom, height } = part.getBoundingClientRect();
  return !height || (top >= MARGIN && bottom <= innerHeight - MARGIN);
}

/** What to look for: the words from `start` to `end`, or `start` alone. */
interface Candidate {
  start: string;
  end?: string;
}

async function findPassage(place: Place, target: Element | null): Promise<Range | null> {
  const text = await collectText(mainOf(target), target);
  for (const from of new Set([text.headingAt, 0])) {
    for (const candidate of candidates(place)) {
      const found = locate(text.letters, candidate, from);
      if (found) return rangeOf(text, ...found);
    }
  }
  return null;
}

/** The sentence of the directive first, then those of the excerpt. */
function candidates({ directive, excerpt }: Place): Candidate[] {
  const found: Candidate[] = [];
  const [start, end] = wordsOf(directive);
  if (start) found.push({ start, end });
  for (const sentence of excerpt.split(SENTENCE_END).slice(0, MAX_CANDIDATES)) {
    // The excerpt has "Label: text" where the page has the label elsewhere.
    for (const each of [sentence, sentence.replace(/^[^:]{1,80}: /, "")]) {
      const letters = lettersOf(each);
      if (letters.length >= MIN_CHARACTERS) found.push({ start: letters });
    }
  }
  return found;
}

/** Letters of the start and the end that a directive names: `text=[prefix-,]start[,end][,-suffix]`. */
function wordsOf(directive: string): string[] {
  const parts = /(?:^|&)text=([^&]+)/.exec(directive)?.[1]?.split(",") ?? [];
  return parts.filter((part) => !/^-|-$/.test(part)).map((part) => lettersOf(decode(part)));
}

export function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Only letters and digits count: markup, white space and typography differ between texts. */
function lettersOf(text: string): string {
  return text.toLowerCase().replace(/[^\p{L}\p{N}\p{M}]+/gu, "");
}

interface PageText {
  letters: string;
  nodes: Text[];
  /** Where the letters of each node begin. */
  starts: number[];
  /** Where those after the heading begin. */
  headingAt: number;
}

async function collectText(root: Element, heading: Element | null): Promise<PageText> {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (node) =>
    node instanceof Element && node.matches(SKIPPED)
      ? NodeFilter.FILTER_REJECT
      : NodeFilter.FILTER_ACCEPT,
  );
  const parts: string[] = [];
  const text: PageText = { letters: "", nodes: [], starts: [], headingAt: 0 };
  let length = 0;
  let read = 0;
  let pause = SLICE;
  for (let node = walker.nextNode(); node && read < MAX_CHARACTERS; node = walker.nextNode()) {
    if (node === heading) text.headingAt = length;
    if (!(node instanceof Text)) continue;
    text.nodes.push(node);
    text.starts.push(length);
    parts.push(lettersOf(node.data));
    length += parts.at(-1)!.length;
    read += node.length;
    if (read < pause) continue;
    pause = read + SLICE;
    await nextTask();
  }
  text.letters = parts.join("");
  return text;
}

/** Start and end of the first passage at or after `from`. */
function locate(letters: string, { start, end }: Candidate, from: number): [number, number] | null {
  for (let at = letters.indexOf(start, from); at >= 0; at = letters.indexOf(start, at + 1)) {
    const afterStart = at + start.length;
    if (!end) return [at, afterStart];
    const endAt = letters.indexOf(end, afterStart);
    if (endAt < 0) return null;
    if (endAt - at < MAX_SENTENCE) return [at, endAt + end.length];
  }
  return null;
}

function rangeOf(text: PageText, from: number, to: number): Range {
  const range = document.createRange();
  range.setStart(...pointAt(text, from, false));
  range.setEnd(...pointAt(text, to - 1, true));
  return range;
}

/** The node and offset of a letter, or of what follows it. */
function pointAt({ nodes, starts }: PageText, at: number, after: boolean): [Text, number] {
  const index = starts.findLastIndex((start) => start <= at);
  let letter = starts[index]!;
  let offset = 0;
  for (const character of nodes[index]!.data) {
    letter += lettersOf(character).length;
    if (letter > at) return [nodes[index]!, after ? offset + character.length : offset];
    offset += character.length;
  }
  throw new Error("no such letter");
}
