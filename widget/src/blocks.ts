// Paragraphs, lists, quotes, tables and code of a Markdown text, while it streams.
//
// The block structure of CommonMark 0.31 and GFM's tables and task lists, as far as models and Quire
// write them. Not read: indented code, underlined headings, HTML, link definitions, and tables whose
// rows do not begin with a bar. These stay text. A line waits until its beginning tells what it is.

import { isFormula } from "./formulas.ts";
import { InlineParser, type Output } from "./inline.ts";

/** A quote, or an item of a list. */
interface Container {
  /** Columns by which an item's content is indented; 0 for a quote. */
  indent: number;
  /** `-`, `*`, `+`, `.` or `)`; `>` for a quote. */
  mark: string;
  /** Of a numbered item. */
  number: number;
}

interface Fence {
  marks: string;
  indent: number;
}

type Leaf = "paragraph" | "heading" | "code" | "formula" | "table";

const MAX_DEPTH = 16;
/** Characters of a line that may be needed to tell what it is. */
const MAX_BEGINNING = 1_000;
const MAX_FENCE_LINE = 200;

/** The beginning of a line that could become a rule, the marker of an item, a heading or a fence. */
const UNDECIDED = /^(?:(?:-[ \t]*)+|(?:\*[ \t]*)+|(?:_[ \t]*)+|\d{1,9}[.)]?|\+|#{1,6}|`{1,2}|~{1,2}|\$|\\)$/;
/** What may stand before a line's content. */
const STRUCTURE = /^[ >\d.)*+-]*\t[ \t>\d.)*+-]*/;
const RULE = /^(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const ITEM = /^(?:([-+*])|(\d{1,9})([.)]))(?=[ \t]|$)/;
const HEADING = /^(#{1,6})(?:[ \t]+|$)/;
const FENCE = /^(`{3,}|~{3,})([^]*)$/;
const DELIMITER_ROW = /^(?=[^|]*\|)[ \t>]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const DELIMITER_ROW_SO_FAR = /^[ \t>|:-]*$/;
const TASK = /^\[([ xX])\][ \t]/;
const TASK_SO_FAR = /^\[(?:[ xX]\]?)?$/;

export class BlockParser {
  #out: Output;
  #held = "";
  #endsWithReturn = false;
  /** Whether the beginning of this line has been read. */
  #inLine = false;
  #containers: Container[] = [];
  #leaf: Leaf | null = null;
  #inline: InlineParser | null = null;
  #fence: Fence | null = null;
  /** How the open formula ends. */
  #closing = "";
  /** Empty lines of code that have not been written, because the last ones are not shown. */
  #lines = 0;
  #started = false;
  #aligned: string[] = [];
  #column = 0;
  #row = "";
  /** Whether nothing can be decided before the line is complete. */
  #needsLine = false;

  constructor(out: Output) {
    this.#out = out;
  }

  write(text: string): void {
    if (!text) return;
    const read = this.#endsWithReturn && text.startsWith("\n") ? text.slice(1) : text;
    this.#endsWithReturn = text.endsWith("\r");
    this.#held += read.replace(/\r\n?/g, "\n").replaceAll("\0", "\ufffd");
    this.#run(false);
  }

  end(): void {
    this.#run(true);
    this.#closeTo(0);
  }

  #run(final: boolean): void {
    while (this.#held || (final && this.#inLine)) {
      if (!this.#inLine && !this.#fence) this.#held = this.#held.replace(STRUCTURE, withoutTabs);
      const end = this.#held.indexOf("\n");
      const length = end < 0 ? this.#held.length : end;
      if (this.#inLine) {
        this.#content(this.#held.slice(0, length));
        this.#held = this.#held.slice(length + 1);
        if (end < 0 && !final) return;
        this.#inLine = false;
        if (this.#leaf === "heading") this.#closeLeaf();
        else if (this.#leaf === "table") this.#endRow();
      } else {
        const long = length > MAX_BEGINNING;
        const ends = end >= 0 || final;
        if (this.#needsLine && !ends && !long) return;
        this.#needsLine = false;
        const read = this.#begin(this.#held.slice(0, Math.min(length, MAX_BEGINNING)), !long && ends, long, final);
        if (read === undefined) return;
        this.#held = this.#held.slice(read);
        this.#inLine = true;
      }
    }
  }

  /**
   * Read the beginning of a line, open and close blocks. Returns where its content begins, undefined
   * if more of it is needed; never for a complete or a long line.
   */
  #begin(line: string, complete: boolean, long: boolean, final: boolean): number | undefined {
    const known = complete || long;
    if (!known && !line.trim()) return undefined;
    let at = 0;
    let matched = 0;
    for (const container of this.#containers) {
      const [width, first] = indentation(line, at);
      if (first === line.length) break;
      if (!container.indent) {
        if (width > 3 || line[first] !== ">") break;
        if (first + 1 === line.length && !known) return undefined;
        at = first + (line[first + 1] === " " ? 2 : 1);
      } else if (width >= container.indent) at = skip(line, at, container.indent);
      else break;
      matched++;
    }
    if (indentation(line, at)[1] === line.length) {
      if (!known) return undefined;
      if (complete) this.#blank(matched);
      return line.length;
    }
    const whole = matched === this.#containers.length;
    if (whole && this.#fence) return this.#codeLine(line, at, known);
    if (whole && this.#leaf === "formula") return known ? this.#formulaLine(line, at) : this.#wait();

    const opened: Container[] = [];
    let own = this.#leaf === "paragraph" && whole;
    for (;;) {
      const [width, first] = indentation(line, at);
      const rest = line.slice(first);
      if (!rest) {
        if (!known) return undefined;
        this.#openContainers(matched, opened);
        return line.length;
      }
      if (width > 3) break;
      if (!known && UNDECIDED.test(rest)) return undefined;
      const room = matched + opened.length < MAX_DEPTH;
      if (rest[0] === ">" && room) {
        if (rest.length === 1 && !known) return undefined;
        at = first + (rest[1] === " " ? 2 : 1);
        opened.push({ indent: 0, mark: ">", number: 0 });
        own = false;
        continue;
      }
      const fence = FENCE.exec(rest);
      if (fence && !(fence[1]![0] === "`" && fence[2]!.includes("`"))) {
        if (!known) return this.#wait();
        if (complete && rest.length <= MAX_FENCE_LINE) {
          this.#openContainers(matched, opened);
          this.#out.open("pre", unescaped(fence[2]!));
          this.#open("code");
          this.#fence = { marks: fence[1]!, indent: width };
          return line.length;
        }
        break;
      }
      const heading = HEADING.exec(rest);
      if (heading) {
        if (!known) return this.#wait();
        this.#openContainers(matched, opened);
        this.#out.open(`h${heading[1]!.length}`);
        this.#open("heading");
        const text = rest.slice(heading[0].length);
        this.#inline!.write(complete ? text.replace(/(?:^|(?<=[ \t]))#+[ \t]*$/, "") : text);
        return line.length;
      }
      if (complete && RULE.test(rest)) {
        this.#openContainers(matched, opened);
        this.#out.open("hr");
        this.#out.close();
        return line.length;
      }
      const item = ITEM.exec(rest);
      if (item && room) {
        const after = first + item[0].length;
        const [space, body] = indentation(line, after);
        const empty = body === line.length;
        if (empty && !known) return undefined;
        const number = Number(item[2] ?? 1);
        if (own && (empty || number !== 1)) break;
        const gap = empty || space > 4 ? 1 : space;
        opened.push({ indent: width + item[0].length + gap, mark: item[1] ?? item[3]!, number });
        at = skip(line, after, gap);
        own = false;
        continue;
      }
      if (rest[0] === "|") {
        if (this.#leaf === "table" && whole && !opened.length) return first;
        if (!long) {
          if (!complete) return this.#wait();
          const delimiters = this.#delimiters(line.length + 1, final);
          if (delimiters === undefined) return undefined;
          if (delimiters) {
            this.#openContainers(matched, opened);
            this.#openTable(rest, delimiters);
            return line.length + 1 + delimiters.length;
          }
        }
      } else if (/^(?:\$\$|\\\[)/.test(rest)) {
        if (!known) return this.#wait();
        const closing = rest[0] === "$" ? "$$" : "\\]";
        const text = rest.slice(2).trim();
        if (complete && !text.includes(closing) && (!text || (closing === "$$" && isFormula(text)))) {
          this.#openContainers(matched, opened);
          this.#out.open("formula", "block");
          this.#open("formula");
          this.#closing = closing;
          if (text) this.#verbatim(text);
          return line.length;
        }
      }
      break;
    }
    return this.#textLine(line, at, matched, opened, known);
  }

  /** A line of a paragraph: a new one, or one more of the open one. */
  #textLine(line: string, at: number, matched: number, opened: Container[], known: boolean): number | undefined {
    const [, first] = indentation(line, at);
    if (this.#leaf === "paragraph" && !opened.length) {
      this.#inline!.write("\n");
      return first;
    }
    const rest = line.slice(first);
    const inItem = opened.at(-1)?.indent;
    if (inItem && !known && TASK_SO_FAR.test(rest)) return undefined;
    const task = inItem ? TASK.exec(rest) : null;
    this.#openContainers(matched, opened);
    this.#out.open("p");
    this.#open("paragraph");
    if (!task) return first;
    this.#out.open("task", task[1] === " " ? "" : "done");
    this.#out.close();
    return first + task[0].length;
  }

  #wait(): undefined {
    this.#needsLine = true;
    return undefined;
  }

  #codeLine(line: string, at: number, known: boolean): number | undefined {
    const { marks, indent } = this.#fence!;
    const [width, first] = indentation(line, at);
    let end = first;
    while (line[end] === marks[0]) end++;
    if (width < 4 && end > first && indentation(line, end)[1] === line.length) {
      if (!known) return undefined;
      if (end - first >= marks.length) {
        this.#closeLeaf();
        return line.length;
      }
    }
    this.#verbatim("");
    return skip(line, at, Math.min(width, indent));
  }

  #formulaLine(line: string, at: number): number {
    const text = line.slice(at);
    const rest = text.replace(this.#closing, "").trim();
    if (rest) this.#verbatim(rest);
    if (text.includes(this.#closing)) this.#closeLeaf();
    return line.length;
  }

  /** Write a line of code or of a formula, after the line breaks before it. */
  #verbatim(text: string): void {
    if (this.#started) this.#lines++;
    this.#started = true;
    this.#out.text("\n".repeat(this.#lines) + (this.#leaf === "formula" ? text.replaceAll("&lt;", "<") : text));
    this.#lines = 0;
  }

  #blank(matched: number): void {
    while (this.#containers[matched]?.indent) matched++;
    if (matched === this.#containers.length && this.#fence) {
      if (this.#started) this.#lines++;
      this.#started = true;
      return;
    }
    this.#closeTo(matched);
  }

  #open(leaf: Leaf): void {
    this.#leaf = leaf;
    this.#lines = 0;
    this.#started = false;
    if (leaf === "paragraph" || leaf === "heading") this.#inline = new InlineParser(this.#out);
  }

  #closeLeaf(): void {
    if (!this.#leaf) return;
    this.#inline?.end();
    this.#inline = null;
    this.#leaf = this.#fence = null;
    this.#out.close();
  }

  #closeTo(matched: number): void {
    this.#closeLeaf();
    while (this.#containers.length > matched) this.#closeContainer(false);
  }

  #closeContainer(keepList: boolean): void {
    this.#out.close();
    if (this.#containers.pop()!.indent && !keepList) this.#out.close();
  }

  #openContainers(matched: number, opened: Container[]): void {
    this.#closeLeaf();
    const first = opened[0];
    const goesOn = !!first?.indent && this.#containers[matched]?.mark === first.mark;
    while (this.#containers.length > matched) {
      this.#closeContainer(goesOn && this.#containers.length === matched + 1);
    }
    for (const container of opened) {
      const { indent, mark, number } = container;
      if (indent && !(goesOn && container === first)) {
        if (mark === "." || mark === ")") this.#out.open("ol", number === 1 ? "" : String(number));
        else this.#out.open("ul");
      }
      this.#out.open(indent ? "li" : "blockquote");
      this.#containers.push(container);
    }
  }

  /** The line at `start` if it makes the one before it a table's header, "" if not. */
  #delimiters(start: number, final: boolean): string | undefined {
    const end = this.#held.indexOf("\n", start);
    const line = this.#held.slice(start, end < 0 ? start + MAX_BEGINNING + 1 : end);
    if (!DELIMITER_ROW_SO_FAR.test(line) || line.length > MAX_BEGINNING) return "";
    if (end < 0 && !final) return undefined;
    return DELIMITER_ROW.test(line) ? line : "";
  }

  #openTable(header: string, delimiters: string): void {
    this.#aligned = delimiters
      .replace(/^[ \t>]*\|?|\|?[ \t]*$/g, "")
      .split("|")
      .map((cell) => {
        const [, left, right] = /^\s*(:?)-+(:?)/.exec(cell) ?? [];
        return right ? (left ? "center" : "end") : "";
      });
    this.#out.open("table");
    this.#open("table");
    this.#out.open("head");
    this.#content(header);
    this.#endRow();
    this.#out.close();
  }

  #content(text: string): void {
    if (!text) return;
    if (!this.#leaf && text.trim()) {
      this.#out.open("p");
      this.#open("paragraph");
    }
    if (this.#leaf === "table") this.#cells(text);
    else if (this.#inline) this.#inline.write(text);
    else if (this.#leaf) this.#out.text(text);
  }

  /** Write a part of a row. A bar that is not escaped ends a cell. */
  #cells(text: string): void {
    if (!this.#row && !this.#column) {
      this.#out.open("row");
      this.#column = 1;
      text = text.replace(/^\|/, "");
    }
    text = this.#row + text;
    this.#row = /\\*$/.exec(text)![0].length % 2 ? "\\" : "";
    if (this.#row) text = text.slice(0, -1);
    for (const [piece] of text.matchAll(/(?:\\[^]|[^\\|])+|\|/g)) {
      if (piece === "|") {
        if (!this.#inline) this.#openCell();
        this.#closeCell();
      } else if (this.#inline || piece.trim()) {
        if (!this.#inline) this.#openCell();
        this.#inline!.write(piece.replaceAll("\\|", "|"));
      }
    }
  }

  #openCell(): void {
    this.#out.open("cell", this.#aligned[this.#column - 1] ?? "");
    this.#inline = new InlineParser(this.#out);
  }

  #closeCell(): void {
    this.#inline!.end();
    this.#inline = null;
    this.#out.close();
    this.#column++;
  }

  #endRow(): void {
    if (!this.#column) return;
    if (this.#row) {
      if (!this.#inline) this.#openCell();
      this.#inline!.write(this.#row);
    }
    if (this.#inline) this.#closeCell();
    this.#row = "";
    this.#column = 0;
    this.#out.close();
  }
}

function withoutTabs(structure: string): string {
  let text = "";
  for (const char of structure) text += char === "\t" ? " ".repeat(4 - (text.length % 4)) : char;
  return text;
}

/** The columns of white space at a place, and where it ends. */
function indentation(line: string, at: number): [number, number] {
  let width = 0;
  for (; line[at] === " " || line[at] === "\t"; at++) width += line[at] === "\t" ? 4 : 1;
  return [width, at];
}

/** The place after so many columns of white space. */
function skip(line: string, at: number, columns: number): number {
  for (let width = 0; width < columns && (line[at] === " " || line[at] === "\t"); at++) {
    width += line[at] === "\t" ? 4 : 1;
  }
  return at;
}

function unescaped(info: string): string {
  return info.trim().replace(/\\([!-/:-@[-`{-~])/g, "$1");
}
