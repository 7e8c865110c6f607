// Shows an answer while it streams. Elements come from a fixed list, text becomes text nodes, nothing
// parses HTML and nothing is loaded. The document grows only at its end: what is shown is never
// rebuilt, but for a marker that becomes a chip when its citation arrives.

import { safeAddress } from "./addresses.ts";
import { BlockParser } from "./blocks.ts";
import { make } from "./dom.ts";
import type { Output } from "./inline.ts";
import type { Strings } from "./locales/en.ts";
import type { Citation } from "./types.ts";

export interface AnswerOptions {
  strings: Strings;
  /** The level of the panel's heading above the answer. */
  level: number;
  resolve(url: string): string | null;
  /** The chip of a citation. `marked` is the address that stands in the text. */
  chip(citation: Citation, marked: string | null): HTMLElement;
}

/** Characters that are read at once, and milliseconds before the browser gets its turn. */
const SLICE = 1_000;
const TURN = 8;

export class AnswerRenderer {
  #parser: BlockParser;
  #tree: Tree;
  #queue = "";
  #ended = false;
  #scheduled = false;
  #finish!: () => void;
  /** Resolves when all of the answer is shown. */
  readonly complete = new Promise<void>((resolve) => (this.#finish = resolve));

  constructor(root: HTMLElement, options: AnswerOptions) {
    this.#tree = new Tree(root, options);
    this.#parser = new BlockParser(this.#tree);
  }

  /** Add to the answer. A long text is shown in slices. */
  write(delta: string): void {
    this.#queue += delta;
    if (!this.#scheduled) this.#work();
  }

  /** Make the markers of a citation chips, those before it and those to come. */
  cite(citation: Citation): void {
    this.#tree.cite(citation);
  }

  end(): void {
    this.#ended = true;
    if (!this.#scheduled) this.#work();
  }

  #work(): void {
    const start = performance.now();
    let at = 0;
    this.#scheduled = false;
    while (at < this.#queue.length && performance.now() - start < TURN) {
      this.#parser.write(this.#queue.slice(at, at + SLICE));
      at += SLICE;
    }
    this.#queue = this.#queue.slice(at);
    if (this.#queue) {
      this.#scheduled = true;
      setTimeout(() => this.#work());
    } else if (this.#ended) {
      this.#parser.end();
    }
    this.#tree.flush();
    if (this.#ended && !this.#queue) this.#finish();
  }
}

/** Browsers have no clipboard on pages without https. */
export const CAN_COPY = !!navigator.clipboard;

/** Longer texts get several nodes: the browser copies a node's text when it grows. */
const MAX_TEXT = 1_000;
const PLAIN = new Set(["p", "blockquote", "ul", "ol", "li", "hr", "br", "em", "strong", "s", "code"]);
/** Blocks with a direction of their own, and what does not count for it. */
const DIRECTED = "p,ul,ol,table,th,td,blockquote,h1,h2,h3,h4,h5,h6";
const NEUTRAL = "pre,code";
/** The first letter of a left-to-right script, or of a right-to-left one (group 1). */
const LETTER = /[A-Za-z\u00aa-\u02b8\u0370-\u0590\u0900-\u1fff\u2c00-\ud7ff\uf900-\ufb1c]|([\u0591-\u08ff\ufb1d-\ufdff\ufe70-\ufefc])/;

class Tree implements Output {
  #options: AnswerOptions;
  /** Elements that are open. One without an element of its own repeats its parent. */
  #open: Element[];
  /** Those of them whose direction is not known yet. `dir=auto` would take quadratic time. */
  #undirected: Element[] = [];
  /** Those of the headings above. */
  #depths: number[] = [];
  #text = "";
  #citations = new Map<number, Citation>();
  /** Markers whose citation has not arrived. */
  #waiting = new Map<number, { span: Element; address: string | null }[]>();
  #scrollable = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      // A region that scrolls must be reachable by keyboard.
      target.toggleAttribute("tabindex", false);
      if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
    }
  });

  constructor(root: Element, options: AnswerOptions) {
    this.#open = [root];
    this.#options = options;
  }

  text(text: string): void {
    this.#text += text;
  }

  open(name: string, detail?: string): void {
    this.flush();
    const element = this.#append(name, detail ?? "");
    if (element !== this.#top && element.matches(DIRECTED)) this.#undirected.push(element);
    this.#open.push(element);
  }

  close(): void {
    this.flush();
    if (this.#open.pop() === this.#undirected.at(-1)) this.#undirected.pop();
  }

  marker(number: number, address: string | null): void {
    this.flush();
    const citation = this.#citations.get(number);
    if (citation) {
      this.#top.append(this.#options.chip(citation, address));
      return;
    }
    const span = make("span", {}, address === null ? `[${number}]` : String(number));
    this.#top.append(span);
    const waiting = this.#waiting.get(number);
    if (waiting) waiting.push({ span, address });
    else this.#waiting.set(number, [{ span, address }]);
  }

  cite(citation: Citation): void {
    this.#citations.set(citation.marker, citation);
    for (const { span, address } of this.#waiting.get(citation.marker) ?? []) {
      span.replaceWith(this.#options.chip(citation, address));
    }
    this.#waiting.delete(citation.marker);
  }

  flush(): void {
    let text = this.#text;
    this.#text = "";
    const letter = this.#undirected.length && !this.#top.closest(NEUTRAL) ? LETTER.exec(text) : null;
    if (letter) for (const each of this.#undirected.splice(0)) each.setAttribute("dir", letter[1] ? "rtl" : "ltr");
    while (text) {
      const last = this.#top.lastChild;
      let node = last instanceof Text && last.length < MAX_TEXT ? last : null;
      // Both halves of a surrogate pair belong in one node.
      if (node?.length === MAX_TEXT - 1 && /^[\ud800-\udbff]/.test(text)) node = null;
      node ??= this.#top.appendChild(document.createTextNode(""));
      let room = MAX_TEXT - node.length;
      if (/[\ud800-\udbff]/.test(text[room - 1] ?? "")) room--;
      node.appendData(text.slice(0, room));
      text = text.slice(room);
    }
  }

  get #top(): Element {
    return this.#open.at(-1)!;
  }

  #append(name: string, detail: string): Element {
    const top = this.#top;
    if (PLAIN.has(name)) {
      const element = document.createElement(name);
      if (name === "code") element.dir = "ltr";
      if (name === "ol" && detail) element.setAttribute("start", detail);
      return top.appendChild(element);
    }
    switch (name) {
      case "h1":
      case "h2":
      case "h3":
      case "h4":
      case "h5":
      case "h6": {
        // No level is left out, whichever the text begins with.
        const depth = Number(name[1]);
        this.#depths = [...this.#depths.filter((each) => each < depth), depth];
        const level = Math.min(6, this.#options.level + this.#depths.length);
        return top.appendChild(make(`h${level}` as "h6"));
      }
      case "task":
        top.append(make("span", { class: "task" }, detail ? "☑ " : "☐ "));
        return top;
      case "pre":
        return this.#code(detail);
      case "formula": {
        const formula = make("code", { class: detail ? "formula display" : "formula", dir: "ltr" });
        top.append(formula);
        return formula;
      }
      case "table": {
        const table = make("table");
        top.append(this.#watch(make("div", { class: "table" }, table)));
        return table;
      }
      case "head":
        return top.appendChild(make("thead"));
      case "row": {
        if (top.localName === "thead") return top.appendChild(make("tr"));
        const body = top.querySelector(":scope > tbody") ?? top.appendChild(make("tbody"));
        return body.appendChild(make("tr"));
      }
      case "cell": {
        const head = top.parentElement?.localName === "thead";
        const attributes = { class: detail || null, scope: head && "col" };
        return top.appendChild(make(head ? "th" : "td", attributes));
      }
      case "link": {
        const address = safeAddress(this.#options.resolve(detail));
        if (!address) return top;
        return top.appendChild(make("a", { href: address, rel: "noopener nofollow" }));
      }
    }
    return top;
  }

  #code(info: string): Element {
    const language = /^[\w#+.-]{1,20}/.exec(info)?.[0] ?? "";
    const { copyCode } = this.#options.strings;
    const code = make("code");
    const copy = CAN_COPY && make("button", { class: "copy-code", type: "button" }, copyCode);
    const pre = this.#watch(make("pre", { dir: "ltr" }, code));
    this.#top.append(
      make("div", { class: "code" }, make("div", { class: "code-bar" }, make("span", {}, language), copy), pre),
    );
    return code;
  }

  #watch<T extends Element>(element: T): T {
    this.#scrollable.observe(element);
    return element;
  }
}
