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

/** A construct that begins with a certain character. The patterns see `MAX_LENGTH` characters. */
interface Rule {
  whole: RegExp;
  /** What may still become one. */
  begun: RegExp;
  /** Null: it is text. */
  make(match: RegExpExecArray, before: string): Node | Node[] | null;
}

/** Characters between two marks of emphasis. */
const MAX_EMPHASIS = 500;
const MAX_RUN = 20;
const MAX_DEPTH = 8;
/** Characters that are read again with each delta. */
const MAX_READ_AGAIN = 50;
/** Characters of a construct. */
const MAX_LENGTH = 3_000;

const PLAIN = /(?:[^\\`*_~$&<![\s]|[^\S\n\t ]| (?=\S))+/y;
const SPACE = /\s/;
const PUNCTUATION = /[\p{P}\p{S}]/u;
/** Chinese, Japanese, Korean and their punctuation. */
const UNSPACED = /[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]/;

// Labels have brackets of one more level, targets have parentheses of one more level.
const IN_LABEL = /\\.|`[^`\n]*`|[^\\[\]`\n]/.source;
const LABEL_BEGUN = String.raw`\[(?:${IN_LABEL}|\[(?:${IN_LABEL})*\]){0,500}`;
const LABEL = LABEL_BEGUN.replace("(?:", "((?:") + String.raw`)\]`;
const IN_TARGET = /\\.|[^\s\\()]/.source;
const TARGET_BEGUN = String.raw`\([ \t]*(<[^<>\n]{0,2000}>|(?:${IN_TARGET}|\((?:${IN_TARGET})*\)){0,2000})`;
const TARGET = TARGET_BEGUN + /(?:[ \t]+(?:"[^"\n]{0,500}"|'[^'\n]{0,500}'))?[ \t]*\)/.source;
const LINK_BEGUN =
  String.raw`(?:${LABEL_BEGUN}(?:\[(?:${IN_LABEL})*)?(?:\\|\`[^\`\n]*)?` +
  String.raw`|${LABEL}(?:${TARGET_BEGUN}(?:<[^<>\n]{0,2000}|\((?:${IN_TARGET})*)?\\?(?:[ \t]+(?:["'][^\n]{0,500})?)?)?)$`;

const NEVER = /(?!)/;
const NUMBER = /^\d{1,3}$/;
const BREAK: Element = { name: "br", children: [], depth: 0 };

const element = (name: string, children: Node[], detail?: string): Element => ({ name, detail, children, depth: 1 });
const formula = (text: string, display: string): Element =>
  element("formula", [text.trim().replaceAll("&lt;", "<")], display);

/** Constructs by their first character. The first one that matches counts. */
const RULES: Record<string, Rule[]> = {
  "\\": [
    {
      whole: /^\\\(([^\n]{1,300}?)\\\)/,
      begun: /^\\\([^\n]{0,301}$/,
      make: ([, text], before) => (before !== "]" && text!.trim() ? formula(text!, "") : null),
    },
    {
      whole: /^\\\[([^\n]{1,300}?)\\\]/,
      begun: /^\\\[[^\n]{0,301}$/,
      make: ([, text], before) => (before === "\n" && isFormula(text!) ? formula(text!, "display") : null),
    },
    {
      whole: /^\\([!-/:-@[-`{-~\n])/,
      begun: /^\\$/,
      make: ([, char]) => (char === "\n" ? BREAK : char!),
    },
  ],
  "`": [
    {
      whole: /^(`{1,20})(?!`)([^]{1,1000}?)(?<!`)\1(?!`)/,
      begun: /^`{1,20}(?:(?!`)[^]{0,1020})?$/,
      make: ([, , text]) => element("code", [text!.replaceAll("\n", " ").replace(/^ (.*[^ ].*) $/, "$1")]),
    },
    { whole: /^`{1,20}/, begun: NEVER, make: ([ticks]) => ticks },
  ],
  $: [
    {
      whole: /^\$\$([^\n]{1,300}?)\$\$/,
      begun: /^\$(?:\$[^\n]{0,301})?$/,
      make: ([, text]) => (isFormula(text!) ? formula(text!, "display") : null),
    },
    {
      // Not a price, and not the name of a variable in a shell.
      whole: /^\$(?![\s$])([^\n]{1,300}?)(?<![\s\\])\$(?!\w)/,
      begun: /^\$(?![\s$])[^\n]{0,301}$/,
      make: ([, text]) => (isFormula(text!) ? formula(text!, "") : null),
    },
  ],
  "&": [
    {
      whole: /^&(?:#x[\da-f]{1,6}|#\d{1,7}|[a-z][a-z\d]{1,31});/i,
      begun: /^&[#a-z\d]{0,33}$/i,
      make: ([entity]) => unescape(entity),
    },
  ],
  "<": [
    {
      whole: /^<((?:https?:|mailto:)[^\s<>]{1,2000})>/i,
      begun: /^<[^\s<>]{0,2008}$/,
      make: ([, address]) => element("link", [address!.replace(/^mailto:/i, "")], address),
    },
  ],
  "!": [
    {
      whole: new RegExp(`^!${LABEL}${TARGET}`),
      begun: new RegExp(`^!(?:$|${LINK_BEGUN})`),
      make: ([, label]) => parseAll(label!),
    },
  ],
  "[": [
    {
      whole: new RegExp(`^${LABEL}${TARGET}`),
      begun: new RegExp(`^${LINK_BEGUN}`),
      make: ([, label, target]) => {
        const address = unescape(target!.replace(/^<(.*)>$/, "$1"));
        if (NUMBER.test(label!)) return { number: Number(label), address };
        return element("link", parseAll(label!), address);
      },
    },
    {
      whole: /^\[(\d{1,3})\]/,
      begun: NEVER,
      make: ([, number]) => ({ number: Number(number), address: null }),
    },
  ],
};

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
  /** Characters of `#held` when it was read. */
  #read = 0;

  constructor(out: Output, inLink = false) {
    this.#out = out;
    this.#inLink = inLink;
  }

  write(text: string): void {
    this.#held += text;
    // What waits for more is rarely ended by a word. Read it again when it has doubled, so that the
    // time stays linear.
    const long = this.#read > MAX_READ_AGAIN && this.#held.length < 2 * this.#read;
    if (!long || /\W/.test(text)) this.#scan(false);
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
    this.#at = 0;
    this.#read = this.#held.length;
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
      this.#push(hard ? BREAK : "\n", this.#at + 1, "\n");
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
    const rules = this.#inLink && "<[!".includes(char) ? [] : (RULES[char] ?? []);
    const window = held.slice(this.#at, this.#at + MAX_LENGTH + 1);
    const open = !final && window.length <= MAX_LENGTH;
    for (const { whole, begun, make } of rules) {
      const match = whole.exec(window);
      const length = match?.[0].length ?? 0;
      // The next character may belong to it.
      if (open && (match ? length === window.length : begun.test(window))) return false;
      const made = match && length <= MAX_LENGTH && make(match, this.#before);
      if (!made) continue;
      this.#nodes.push(...(Array.isArray(made) ? made : [made]));
      this.#at += length;
      this.#before = held[this.#at - 1]!;
      return true;
    }
    this.#push(char, this.#at + 1, char);
    return true;
  }

  #push(node: Node, end: number, before: string): void {
    this.#nodes.push(node);
    this.#at = end;
    this.#before = before;
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
