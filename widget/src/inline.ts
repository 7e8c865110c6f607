// Emphasis, code, links, formulas and markers in the text of one block, while it streams.
//
// Nothing is emitted before it is certain: text after a possible opening mark waits for the closing
// one, at most as many characters as the constants say. Each decision depends on positions in the
// text alone, so it does not matter how the text was cut into deltas. Follows CommonMark 0.31 but
// for emphasis beside Chinese and Japanese punctuation, which models write without spaces.
//
// streaming-markdown (npm) decides at once, and cannot take back: "$HOME" makes the rest of an
// answer a formula. test/markdown.test.mjs has what it reads wrong.

import { isFormula, unescape } from "./formulas.ts";

/** Receives the parts of a text in order. */
export interface Output {
  open(name: string, detail?: string): void;
  close(): void;
  text(text: string): void;
  /** A citation marker: its number, and its address and label if it was written as a link. */
  marker(number: number, address: string | null): void;
}

type Node = string | Delimiter | Element | Marker;

interface Delimiter {
  mark: string;
  count: number;
  /** The count at first: CommonMark's "rule of three". */
  length: number;
  opens: boolean;
  closes: boolean;
  position: number;
  /** In `#nodes`. */
  index: number;
}

interface Element {
  name: string;
  detail?: string | undefined;
  children: Node[];
  depth: number;
}

interface Marker {
  number: number;
  address: string | null;
}

/** Found at a position: what it is and where it ends. Null: nothing. Undefined: more text is needed. */
type Found = { node: Node | Node[]; end: number } | null | undefined;

const MAX_EMPHASIS = 500;
const MAX_CODE = 1_000;
const MAX_LABEL = 500;
const MAX_BRACKETS = 8;
const MAX_TARGET = 4_000;
const MAX_PARENTHESES = 32;
const MAX_FORMULA = 300;
const MAX_RUN = 20;
const MAX_DEPTH = 8;

const PLAIN = /(?:[^\\`*_~$&<![\s]|[^\S\n\t ]| (?=\S))+/y;
const SPACE = /\s/;
const PUNCTUATION = /[\p{P}\p{S}]/u;
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\u3000-\u303f\uff00-\uffef]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const ENTITY = /&(?:#x[\da-f]{1,6}|#\d{1,7}|[a-z][a-z\d]{1,31});/iy;
const ENTITY_SO_FAR = /&[#a-z\d]{0,33}$/iy;
const AUTOLINK = /<((?:https?|mailto):[^\s<>]{1,2000})>/iy;
const AUTOLINK_SO_FAR = /<(?:h?|ht|htt|https?|m|ma|mai|mail|mailt|mailto|(?:https?|mailto):[^\s<>]{0,2000})$/iy;
const TARGET = /^[ \t]*(?:<([^<>]*)>|([^ \t]*))(?:[ \t]+(?:"[^"]*"|'[^']*'))?[ \t]*$/;
const NUMBER = /^\d{1,3}$/;

export class InlineParser {
  #out: Output;
  #inLink: boolean;
  #held = "";
  #at = 0;
  /** Position of `#held` in the text. */
  #offset = 0;
  #before = "\n";
  #spaces = 0;
  #nodes: Node[] = [];
  #openers: Delimiter[] = [];
  /** A character without which the construct that is waited for cannot end, and where to give up. */
  #awaited = "";
  #giveUp = 0;

  constructor(out: Output, inLink = false) {
    this.#out = out;
    this.#inLink = inLink;
  }

  write(text: string): void {
    this.#held += text;
    if (this.#awaited) {
      const waits = this.#held.length < this.#giveUp;
      if (waits && !text.includes(this.#awaited) && !text.includes("\n")) return;
      this.#awaited = "";
    }
    this.#scan(false);
  }

  end(): void {
    this.#scan(true);
    this.#openers = [];
    this.#flush();
  }

  #scan(final: boolean): void {
    while (this.#at < this.#held.length) if (!this.#step(final)) break;
    this.#offset += this.#at;
    this.#held = this.#held.slice(this.#at);
    this.#giveUp -= this.#at;
    this.#at = 0;
    this.#expire(this.#offset);
    this.#flush();
  }

  /** Process what stands at `#at`; false if more text is needed. */
  #step(final: boolean): boolean {
    const held = this.#held;
    const char = held[this.#at]!;
    if (char === " " || char === "\t") {
      this.#spaces++;
      this.#at++;
      return true;
    }
    if (char === "\n") {
      const hard = this.#spaces > 1;
      this.#spaces = 0;
      this.#push(hard ? { name: "br", children: [], depth: 0 } : "\n", this.#at + 1, "\n");
      return true;
    }
    if (this.#spaces) {
      this.#spaces = 0;
      if (this.#before !== "\n") {
        this.#nodes.push(" ");
        this.#before = " ";
      }
    }
    PLAIN.lastIndex = this.#at;
    const plain = PLAIN.exec(held)?.[0];
    if (plain) {
      this.#push(plain, this.#at + plain.length, plain.at(-1)!);
      return true;
    }
    if (char === "*" || char === "_" || char === "~") return this.#delimiter(char, final);
    const found = this.#find(char, final);
    if (found === undefined && !final) return false;
    if (found) {
      const nodes = Array.isArray(found.node) ? found.node : [found.node];
      this.#before = held[found.end - 1]!;
      this.#nodes.push(...nodes);
      this.#at = found.end;
    } else {
      this.#push(char, this.#at + 1, char);
    }
    return true;
  }

  #push(node: Node, end: number, before: string): void {
    this.#nodes.push(node);
    this.#at = end;
    this.#before = before;
  }

  #find(char: string, final: boolean): Found {
    const at = this.#at;
    switch (char) {
      case "\\":
        return this.#escape(at, final);
      case "`":
        return this.#code(at, final);
      case "$":
        return this.#dollars(at, final);
      case "&": {
        const entity = sticky(ENTITY, this.#held, at);
        if (entity) return { node: unescape(entity[0]), end: at + entity[0].length };
        return sticky(ENTITY_SO_FAR, this.#held, at) && !final ? undefined : null;
      }
      case "<": {
        if (this.#inLink) return null;
        const link = sticky(AUTOLINK, this.#held, at);
        if (link) {
          const children = [link[1]!.replace(/^mailto:/i, "")];
          return { node: { name: "link", detail: link[1]!, children, depth: 1 }, end: at + link[0].length };
        }
        return sticky(AUTOLINK_SO_FAR, this.#held, at) && !final ? undefined : null;
      }
      case "!": {
        if (this.#held[at + 1] !== "[") return at + 1 < this.#held.length || final ? null : undefined;
        const image = this.#link(at + 1, final, true);
        return image;
      }
      case "[":
        return this.#inLink ? null : this.#link(at, final, false);
    }
    return null;
  }

  #escape(at: number, final: boolean): Found {
    const next = this.#held[at + 1];
    if (next === undefined) return final ? null : undefined;
    if (next === "\n") return { node: { name: "br", children: [], depth: 0 }, end: at + 2 };
    if ((next === "(" && this.#before !== "]") || (next === "[" && this.#before === "\n")) {
      const close = next === "(" ? "\\)" : "\\]";
      const formula = this.#formula(at, 2, close, final);
      if (formula || (formula === undefined && !final)) return formula;
    }
    return ESCAPABLE.test(next) ? { node: next, end: at + 2 } : null;
  }

  #formula(at: number, length: number, close: string, final: boolean): Found {
    const start = at + length;
    const limit = start + MAX_FORMULA;
    const window = this.#held.slice(start, limit);
    let end = window.indexOf(close);
    if (close === "$") {
      // Not a price, and not the name of a variable in a shell.
      while (end > 0 && (/[\s\\]/.test(window[end - 1]!) || /\w/.test(window[end + 1] ?? ""))) {
        end = window.indexOf(close, end + 1);
      }
      if (end >= 0 && end + 1 === window.length && !final && window.length < MAX_FORMULA) return undefined;
    }
    const line = window.indexOf("\n");
    if (line >= 0 && (end < 0 || line < end)) return null;
    if (end < 0) return window.length < MAX_FORMULA && !final ? undefined : null;
    const text = window.slice(0, end);
    if (!text.trim() || (close !== "\\)" && !isFormula(text))) return null;
    const display = length === 2 && close !== "\\)" ? "display" : "";
    const children = [text.trim().replaceAll("&lt;", "<")];
    return { node: { name: "formula", detail: display, children, depth: 1 }, end: start + end + close.length };
  }

  #dollars(at: number, final: boolean): Found {
    const next = this.#held[at + 1];
    if (next === undefined) return final ? null : undefined;
    if (next === "$") return this.#formula(at, 2, "$$", final);
    return SPACE.test(next) ? null : this.#formula(at, 1, "$", final);
  }

  #code(at: number, final: boolean): Found {
    const held = this.#held;
    let begin = at;
    while (held[begin] === "`" && begin < at + MAX_RUN) begin++;
    if (begin === held.length && !final) return undefined;
    const ticks = held.slice(at, begin);
    let from = begin;
    for (;;) {
      let end = held.indexOf("`", from);
      const until = end < 0 ? held.length : end;
      if (until - begin > MAX_CODE) break;
      if (end < 0) {
        if (final) break;
        this.#wait("`", begin + MAX_CODE + 1);
        return undefined;
      }
      from = end;
      while (held[from] === "`" && from - end <= MAX_RUN) from++;
      if (from === held.length && from - end <= MAX_RUN && !final) return undefined;
      if (from - end !== ticks.length) continue;
      let text = held.slice(begin, end).replaceAll("\n", " ");
      if (/^ .*[^ ].* $/.test(text)) text = text.slice(1, -1);
      return { node: { name: "code", children: [text], depth: 1 }, end: from };
    }
    return { node: ticks, end: begin };
  }

  #wait(char: string, length: number): void {
    this.#awaited = char;
    this.#giveUp = length;
  }

  /** The link, image or marker whose label opens at `at`. */
  #link(at: number, final: boolean, image: boolean): Found {
    const held = this.#held;
    const close = this.#closing(at, final);
    if (close === undefined || close === null) return close;
    const label = held.slice(at + 1, close);
    const next = held[close + 1];
    if (next === undefined && !final) return undefined;
    if (next !== "(") {
      if (image || !NUMBER.test(label)) return null;
      return { node: { number: Number(label), address: null }, end: close + 1 };
    }
    const end = this.#targetEnd(close + 1, final);
    if (end === undefined || end === null) return end;
    const target = TARGET.exec(held.slice(close + 2, end));
    if (!target) return null;
    const address = unescape(target[1] ?? target[2]!);
    if (NUMBER.test(label) && !image) return { node: { number: Number(label), address }, end: end + 1 };
    const children = parseAll(label);
    const node = image ? children : { name: "link", detail: address, children, depth: 1 };
    return { node, end: end + 1 };
  }

  #closing(at: number, final: boolean): number | null | undefined {
    const held = this.#held;
    const limit = Math.min(held.length, at + MAX_LABEL);
    let depth = 0;
    for (let i = at; i < limit; i++) {
      const char = held[i];
      if (char === "\n") return null;
      if (char === "\\") i++;
      else if (char === "`") {
        // A bracket in code does not count.
        let begin = i;
        while (begin < limit && held[begin] === "`") begin++;
        const ticks = held.slice(i, begin);
        const end = begin < limit ? held.slice(begin, limit).search(new RegExp(`(?<!\`)${ticks}(?!\`)`)) : -1;
        i = end < 0 ? begin - 1 : begin + end + ticks.length - 1;
        if (end < 0 && limit < at + MAX_LABEL && !final) return undefined;
      } else if (char === "[" && ++depth > MAX_BRACKETS) return null;
      else if (char === "]" && --depth === 0) return i;
    }
    return limit < at + MAX_LABEL && !final ? undefined : null;
  }

  #targetEnd(at: number, final: boolean): number | null | undefined {
    const held = this.#held;
    const limit = Math.min(held.length, at + MAX_TARGET);
    let depth = 0;
    for (let i = at; i < limit; i++) {
      const char = held[i];
      if (char === "\n") return null;
      if (char === "\\") i++;
      else if (char === "(" && ++depth > MAX_PARENTHESES) return null;
      else if (char === ")" && --depth === 0) return i;
    }
    if (limit === at + MAX_TARGET || final) return null;
    this.#wait(")", at + MAX_TARGET);
    return undefined;
  }

  #delimiter(mark: string, final: boolean): boolean {
    const held = this.#held;
    let end = this.#at;
    while (held[end] === mark && end < this.#at + MAX_RUN) end++;
    const after = held[end];
    if (after === undefined && !final) return false;
    const length = end - this.#at;
    const position = this.#offset + this.#at;
    const text = mark.repeat(length);
    if (length === MAX_RUN || (mark === "~" && length !== 2)) {
      this.#push(text, end, mark);
      return true;
    }
    const [opens, closes] = flanking(mark, this.#before, after ?? "\n");
    const run: Delimiter = { mark, count: length, length, opens, closes, position, index: 0 };
    this.#expire(position);
    if (closes) this.#close(run);
    this.#at = end;
    this.#before = mark;
    if (!run.count) return true;
    run.index = this.#nodes.length;
    this.#nodes.push(opens ? run : mark.repeat(run.count));
    if (opens) this.#openers.push(run);
    return true;
  }

  /** Match a closing run with the openers before it. */
  #close(run: Delimiter): void {
    while (run.count) {
      const place = this.#openers.findLastIndex((each) => matches(each, run));
      if (place < 0) return;
      const opener = this.#openers[place]!;
      const children = this.#nodes.slice(opener.index + 1);
      const depth = 1 + children.reduce((most, each) => Math.max(most, depthOf(each)), 0);
      if (depth > MAX_DEPTH) return;
      const width = run.mark === "~" || (opener.count > 1 && run.count > 1) ? 2 : 1;
      const name = run.mark === "~" ? "s" : width === 2 ? "strong" : "em";
      opener.count -= width;
      run.count -= width;
      this.#openers.length = opener.count ? place + 1 : place;
      this.#nodes.length = opener.count ? opener.index + 1 : opener.index;
      this.#nodes.push({ name, children, depth });
    }
  }

  /** Give up openers that are too far before `position`. */
  #expire(position: number): void {
    let expired = 0;
    for (const { position: start } of this.#openers) {
      if (position - start <= MAX_EMPHASIS) break;
      expired++;
    }
    if (expired) this.#openers.splice(0, expired);
  }

  /** Emit what no opener can change any more. */
  #flush(): void {
    const end = this.#openers[0]?.index ?? this.#nodes.length;
    if (!end) return;
    for (const node of this.#nodes.splice(0, end)) this.#emit(node);
    for (const opener of this.#openers) opener.index -= end;
  }

  #emit(node: Node): void {
    if (typeof node === "string") this.#out.text(node);
    else if ("mark" in node) this.#out.text(node.mark.repeat(node.count));
    else if ("number" in node) this.#out.marker(node.number, node.address);
    else {
      this.#out.open(node.name, node.detail);
      for (const child of node.children) this.#emit(child);
      this.#out.close();
    }
  }

  /** The nodes of a whole text, for the label of a link. */
  static parse(text: string): Node[] {
    const parser = new InlineParser(NOWHERE, true);
    parser.#held = text;
    while (parser.#at < text.length) parser.#step(true);
    if (parser.#spaces) parser.#nodes.push(" ");
    return parser.#nodes;
  }
}

const NOWHERE: Output = { open() {}, close() {}, text() {}, marker() {} };
const parseAll = InlineParser.parse;

function sticky(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function depthOf(node: Node): number {
  return typeof node === "object" && "depth" in node ? node.depth : 0;
}

/** Whether a run of marks may open and close emphasis between two characters. */
function flanking(mark: string, before: string, after: string): [boolean, boolean] {
  const [spaceBefore, spaceAfter] = [SPACE.test(before), SPACE.test(after)];
  const [markBefore, markAfter] = [PUNCTUATION.test(before), PUNCTUATION.test(after)];
  const left = !spaceAfter && (!markAfter || spaceBefore || markBefore || UNSPACED.test(before));
  const right = !spaceBefore && (!markBefore || spaceAfter || markAfter || UNSPACED.test(after));
  if (mark !== "_") return [left, right];
  return [left && (!right || markBefore), right && (!left || markAfter)];
}

function matches(opener: Delimiter, closer: Delimiter): boolean {
  if (opener.mark !== closer.mark) return false;
  const both = opener.closes || closer.opens;
  const three = (opener.length + closer.length) % 3 === 0;
  return !(both && three && (opener.length % 3 || closer.length % 3));
}
