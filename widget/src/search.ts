// Pages of the book while the reader types a question.

import { ApiError, search } from "./api.ts";
import { make } from "./dom.ts";
import { fill } from "./i18n.ts";
import { addressOf, pathOf } from "./sources.ts";
import type { Context, Passage } from "./types.ts";

/** Milliseconds without typing before a search. */
const QUIET = 150;
/** Milliseconds for which the list stays as it is after the pointer has moved over it. */
const POINTING = 600;
const MIN_CHARACTERS = 2;
/** A longer text is a question that no page has in its words. */
const MAX_CHARACTERS = 200;
const MAX_WORDS = 12;
const EXCERPT = 240;
const BEFORE_MATCH = 30;
/** Without a header Retry-After. */
const RETRY_SECONDS = 60;

interface Page {
  address: string;
  path: string;
  excerpt: string;
}

/**
 * The list below or above `field`. It handles the field's keys before others do: add it before
 * listeners of the field. `submit` asks the question in the field.
 *
 * The roles are those of a combobox, but for the role itself, which a textarea may not have.
 */
export class SearchList {
  readonly element: HTMLElement;
  readonly #context: Context;
  readonly #field: HTMLTextAreaElement;
  readonly #submit: () => void;
  readonly #first = make("div", { role: "option", class: "first", id: "option-0" });
  #pages: Page[] = [];
  #options: HTMLElement[] = [this.#first];
  /** Index in `#options`; -1: the reader is in the text. */
  #active = -1;
  #enabled = true;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #request: AbortController | undefined;
  #quietUntil = 0;
  #pointedAt = -POINTING;
  #announced = 0;

  constructor(context: Context, field: HTMLTextAreaElement, submit: () => void) {
    this.#context = context;
    this.#field = field;
    this.#submit = submit;
    this.element = make("div", {
      class: "pages",
      id: "pages",
      role: "listbox",
      "aria-label": context.strings.pages,
      hidden: true,
      // The focus stays in the field.
      onmousedown: (event: Event) => event.preventDefault(),
      onpointermove: (event: Event) => (this.#pointedAt = event.timeStamp),
      onclick: (event: Event) => this.#clicked(event),
    });
    field.setAttribute("aria-autocomplete", "list");
    field.addEventListener("input", (event) => this.#typed((event as InputEvent).isComposing));
    field.addEventListener("compositionend", () => this.#typed(false));
    field.addEventListener("keydown", (event) => this.#key(event), true);
    field.addEventListener("blur", () => this.close());
  }

  /** Off while there is a conversation. */
  set enabled(enabled: boolean) {
    this.#enabled = enabled;
    if (!enabled) this.close();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#request?.abort();
    this.#pages = [];
    this.#announced = 0;
    this.element.hidden = true;
    this.#activate(-1);
    for (const name of ["aria-controls", "aria-haspopup"]) this.#field.removeAttribute(name);
  }

  #typed(isComposing: boolean): void {
    if (isComposing) return;
    clearTimeout(this.#timer);
    // What arrives from now on answers an old query.
    this.#request?.abort();
    const query = this.#field.value.trim();
    const isQuery = query.length >= MIN_CHARACTERS && query.length <= MAX_CHARACTERS && !query.includes("\n");
    if (!this.#enabled || !isQuery || Date.now() < this.#quietUntil) return this.close();
    this.#activate(-1);
    this.#first.textContent = fill(this.#context.strings.askAbout, { query });
    this.#timer = setTimeout(() => this.#search(query), QUIET);
  }

  async #search(query: string): Promise<void> {
    const request = (this.#request = new AbortController());
    let passages: Passage[] = [];
    try {
      passages = await search(this.#context.host, query, request.signal);
    } catch (error) {
      // Asking still works.
      if (error instanceof ApiError && error.problem.code === "429") {
        this.#quietUntil = Date.now() + (error.problem.retryAfter ?? RETRY_SECONDS) * 1_000;
      }
    }
    if (request.signal.aborted) return;
    const show = () => {
      const wait = this.element.hidden ? 0 : this.#pointedAt + POINTING - performance.now();
      if (wait > 0) this.#timer = setTimeout(show, wait);
      else this.#show(passages, query);
    };
    show();
  }

  #show(passages: Passage[], query: string): void {
    const words = matcher(query);
    this.#pages = pagesOf(passages, words, this.#context);
    const count = this.#pages.length;
    if (!count) return this.close();
    const pages = this.#pages.map(({ path, excerpt }, index) =>
      make(
        "div",
        { role: "option", id: `option-${index + 1}` },
        make("div", { class: "path", dir: "auto" }, ...marked(path, words)),
        make("div", { class: "excerpt", dir: "auto" }, ...marked(excerpt, words)),
      ),
    );
    this.#options = [this.#first, ...pages];
    this.element.replaceChildren(...this.#options);
    this.element.hidden = false;
    this.#field.setAttribute("aria-controls", this.element.id);
    this.#field.setAttribute("aria-haspopup", "listbox");
    this.#activate(-1);
    if (count !== this.#announced) this.#context.announce(fill(this.#context.strings.pagesFound, { n: count }));
    this.#announced = count;
  }

  #key(event: KeyboardEvent): void {
    const { key } = event;
    if (this.element.hidden || event.isComposing || event.keyCode === 229) return;
    if (event.shiftKey || event.ctrlKey || event.altKey || event.metaKey) return;
    const count = this.#options.length;
    // From the text, the arrows lead to both ends of the list; beyond them, back to the text.
    if (key === "ArrowDown") this.#activate(this.#active + 1 < count ? this.#active + 1 : -1);
    else if (key === "ArrowUp") this.#activate(this.#active < 0 ? count - 1 : this.#active - 1);
    else if (key === "Escape") this.close();
    else if (key === "Enter" && this.#active >= 0) this.#choose(this.#active);
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  #clicked(event: Event): void {
    const option = (event.target as Element).closest<HTMLElement>("[role=option]");
    if (option) this.#choose(this.#options.indexOf(option));
  }

  #choose(index: number): void {
    const page = this.#pages[index - 1];
    this.close();
    if (page) this.#context.open(page.address, page.excerpt);
    else this.#submit();
  }

  #activate(index: number): void {
    this.#active = index;
    this.#options.forEach((option, at) => (option.ariaSelected = String(at === index)));
    const option = this.#options[index];
    if (!option) return this.#field.removeAttribute("aria-activedescendant");
    this.#field.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }
}

/** One entry for each heading, with an address that can be opened. */
function pagesOf(passages: Passage[], words: RegExp | null, context: Context): Page[] {
  const found = new Map<string, Page>();
  for (const source of passages) {
    const address = addressOf({ source }, context);
    if (!address || found.has(address)) continue;
    found.set(address, { address, path: pathOf({ source }, context), excerpt: excerptOf(plain(source.text), words) });
  }
  return [...found.values()];
}

/** Matches the beginnings of words that the reader has typed; null if there are none. */
function matcher(query: string): RegExp | null {
  const words = query.match(/[\p{L}\p{M}\p{N}]+/gu)?.slice(0, MAX_WORDS);
  if (!words) return null;
  // Some scripts have no spaces, and so no beginnings of words.
  const start = /^[\p{Script=Latin}\p{N}]/u.test(query) ? "(?<![\\p{L}\\p{N}])" : "";
  return new RegExp(`${start}(${words.sort((one, other) => other.length - one.length).join("|")})`, "giu");
}

/** The text with what matches in `<mark>`. */
function marked(text: string, words: RegExp | null): (string | HTMLElement)[] {
  const parts: (string | HTMLElement)[] = [];
  let from = 0;
  for (const { 0: match, index } of words ? text.matchAll(words) : []) {
    parts.push(text.slice(from, index), make("mark", {}, match));
    from = index + match.length;
  }
  return [...parts, text.slice(from)];
}

/** A text from a little before the first match. The style sheet cuts its end. */
function excerptOf(text: string, words: RegExp | null): string {
  const match = words ? text.search(words) : 0;
  const start = Math.max(text.lastIndexOf(" ", match - BEFORE_MATCH) + 1, match - 2 * BEFORE_MATCH, 0);
  return (start ? "… " : "") + text.slice(start, start + EXCERPT);
}

/** Markdown as text on one line. */
function plain(markdown: string): string {
  return markdown
    .replace(/^ *(#{1,6} |```|~~~|:::|\|? *:?---).*|<\/?[a-zA-Z][^<>\n]{0,200}>/gm, " ")
    .replace(/!?\[([^\][\n]{0,300})\]\([^()\s]{0,500}\)/g, "$1")
    .replace(/^ *([-+>]|\d+[.)]) +|[`*|\\]|\b_|_\b/gm, "")
    .replace(/\s+/g, " ")
    .trim();
}
