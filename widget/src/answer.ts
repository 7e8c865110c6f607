// A question and its answer.

import { safeAddress } from "./addresses.ts";
import { icon, make } from "./dom.ts";
import { Feedback } from "./feedback.ts";
import { AnswerRenderer, CAN_COPY } from "./markdown.ts";
import { addressOf, makeChip, pathOf, Preview, readCitation, SourceList } from "./sources.ts";
import type { Citation, Context, Done, Turn } from "./types.ts";

/** Level of the panel's heading; a question's is one below, those in answers follow. */
const LEVEL = 2;
const NOT_IN_BOOK = "not_in_book";
const MAX_SHOWN = 5;
const COPIED = 2_000;
const COPY = "M7 7V4.5A1.5 1.5 0 0 1 8.5 3h7A1.5 1.5 0 0 1 17 4.5v7a1.5 1.5 0 0 1-1.5 1.5H13M4.5 7h7A1.5 1.5 0 0 1 13 8.5v7a1.5 1.5 0 0 1-1.5 1.5h-7A1.5 1.5 0 0 1 3 15.5v-7A1.5 1.5 0 0 1 4.5 7z";
const RETRY = "M16.5 10a6.5 6.5 0 1 1-2-4.7M16.5 3v3.4h-3.4";

export class TurnView {
  readonly element: HTMLElement;
  #turn: Turn;
  #context: Context;
  #citations = new Map<number, Citation>();
  #renderer: AnswerRenderer;
  #preview: Preview;
  #sources: SourceList;
  #status = make("div", { class: "status" });
  #answer = make("div", { class: "answer", part: "answer" });
  #problem = make("p", { class: "problem", dir: "auto", hidden: true });
  #notes = make("div", { class: "notes" });
  #actions = make("div", { class: "actions" });
  #more = make("div", { class: "more" });
  #state = "";
  #touched: Element | null = null;

  constructor(turn: Turn, context: Context) {
    this.#turn = turn;
    this.#context = context;
    const { strings } = context;
    const question = make(
      "h3",
      { class: "question", part: "question" },
      unseen(strings.youAsked),
      // The reader's words have a direction of their own.
      make("span", { dir: "auto" }, String(turn.question)),
    );
    const selected = turn.selection?.text;
    this.element = make("article", { class: "turn" });
    this.#sources = new SourceList(context);
    this.#preview = new Preview(this.element, this.#citations, context);
    this.element.append(
      question,
      ...(selected
        ? [make("p", { class: "selection" }, unseen(strings.selectedText), make("span", { dir: "auto" }, String(selected)))]
        : []),
      this.#answer,
      this.#status,
      this.#problem,
      this.#notes,
      this.#sources.element,
      this.#actions,
      this.#more,
      this.#preview.element,
    );
    this.element.addEventListener("pointerdown", (event) => {
      // Before the focus shows the preview: the first touch shows it, the second one opens.
      const chip = (event.target as Element).closest(".cite");
      this.#touched = event.pointerType === "touch" && chip && !this.#preview.shows(chip) ? chip : null;
    });
    this.element.addEventListener("click", (event) => this.#click(event));
    this.#renderer = new AnswerRenderer(this.#answer, {
      strings,
      level: LEVEL + 1,
      resolve: context.resolve,
      chip: (citation, marked) => makeChip(citation, marked, context),
    });
    if (Array.isArray(turn.citations)) for (const each of turn.citations) this.cite(each);
    if (turn.answer) this.write(String(turn.answer));
    this.update();
  }

  /** Add to the answer. */
  write(delta: string): void {
    this.#renderer.write(delta);
  }

  cite(citation: Citation): void {
    const read = readCitation(citation);
    if (!read || this.#citations.has(read.marker)) return;
    this.#citations.set(read.marker, read);
    this.#renderer.cite(read);
    this.#sources.add(read);
  }

  /** Show the turn's state. */
  update(): void {
    const { state, problem } = this.#turn;
    if (state === this.#state) return;
    this.#state = state;
    const { strings } = this.#context;
    const running = state === "waiting" || state === "waking" || state === "streaming";
    const focused = this.#actions.matches(":focus-within");
    this.element.dataset.state = state;
    this.element.setAttribute("aria-busy", String(running));
    this.#status.replaceChildren(
      ...(state === "waiting" || state === "waking"
        ? [make("span", { class: "dots" }), state === "waking" ? strings.waking : strings.searching]
        : state === "stopped"
          ? [strings.stopped]
          : []),
    );
    this.#problem.hidden = state !== "failed";
    this.#problem.textContent = state === "failed" ? String(problem?.message ?? strings.interrupted) : "";
    if (!running) this.#renderer.end();
    if (state === "done") this.#finish(this.#turn.done);
    this.#actions.replaceChildren(...this.#buttons(running));
    if (focused) this.#actions.querySelector("button")?.focus();
  }

  #buttons(running: boolean): Node[] {
    const { strings } = this.#context;
    // The composer stops it.
    if (running) return [];
    const done = this.#turn.state === "done";
    const retry = action(RETRY, strings.retry, () => this.#context.retry(this.#turn), !done);
    const copy = this.#turn.answer && CAN_COPY ? action(COPY, strings.copy, (button) => this.#copy(button)) : null;
    if (!done || !this.#turn.done?.answer_id) return copy ? [copy, retry] : [retry];
    const feedback = new Feedback(this.#turn, this.#context);
    this.#more.prepend(feedback.form);
    return [copy ?? "", retry, feedback.buttons].filter((each) => each instanceof Node);
  }

  /** What follows a complete answer: doubts, nearest pages, follow-ups. */
  #finish(done: Done | undefined): void {
    if (!done) return;
    const { strings } = this.#context;
    const refused = done.finish_reason === NOT_IN_BOOK;
    const doubtful = list(done.check).filter((each) => each?.supported === false);
    if (refused) this.#renderer.complete.then(() => this.#suggest(done));
    else if (done.mode === "generated" && !this.#citations.size) {
      this.#notes.append(make("p", { class: "doubt" }, strings.noSource));
    }
    if (doubtful.length) {
      const sentences = doubtful.map(({ sentence }) => make("li", {}, String(sentence)));
      const found = make("ul", { dir: "auto" }, ...sentences);
      this.#notes.append(make("div", { class: "doubt" }, make("p", {}, strings.unsupported), found));
    }
    const questions = list(done.follow_ups).filter((each) => typeof each === "string" && each.trim());
    if (!questions.length) return;
    const buttons = questions.slice(0, MAX_SHOWN).map((question) => {
      const onclick = () => this.#context.ask(question);
      return make("li", {}, make("button", { type: "button", class: "choice", dir: "auto", onclick }, question));
    });
    this.#more.append(
      make("section", { class: "follow-ups" }, make("h4", {}, strings.followUps), make("ul", {}, ...buttons)),
    );
  }

  /** The nearest pages as links. The server's sentence lists those that it can link to as Markdown. */
  #suggest(done: Done): void {
    const suggestions = list(done.suggestions).slice(0, MAX_SHOWN);
    if (!suggestions.length) return;
    const links = suggestions.map((each) => {
      const title = String(each?.title ?? "");
      const href = typeof each?.url === "string" ? safeAddress(this.#context.resolve(each.url)) : null;
      return make("li", {}, href ? make("a", { href, rel: "noopener nofollow" }, title) : title);
    });
    const listed = this.#answer.lastElementChild;
    const twice = done.mode === "none" && listed?.localName === "ul";
    if (twice) listed.remove();
    const heading = twice ? "" : make("h4", {}, this.#context.strings.nearestPages);
    this.#notes.append(make("section", { class: "nearest" }, heading, make("ul", { dir: "auto" }, ...links)));
  }

  #click(event: MouseEvent): void {
    const target = event.target as Element;
    const copy = target.closest<HTMLButtonElement>(".copy-code");
    if (copy) {
      const code = copy.closest(".code")?.querySelector("code")?.textContent ?? "";
      this.#copied(copy, code, this.#context.strings.copyCode);
      return;
    }
    const chip = target.closest<HTMLElement>(".cite");
    if (chip && (this.#touched === chip || chip.localName === "button")) {
      this.#touched = null;
      event.preventDefault();
      this.#preview.show(chip);
      return;
    }
    const link = target.closest("a");
    const modified = event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (!link || modified || !/^https?:/.test(link.protocol)) return;
    event.preventDefault();
    this.#preview.hide();
    this.#context.open(link.href, this.#citations.get(Number(link.dataset.source))?.text);
  }

  #copy(button: HTMLButtonElement): void {
    const text = markdownOf(this.#turn, this.#citations, this.#context);
    this.#copied(button.querySelector("span")!, text, this.#context.strings.copy);
  }

  async #copied(label: HTMLElement, text: string, before: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      return; // Forbidden by the browser or the site.
    }
    const { copied } = this.#context.strings;
    label.textContent = copied;
    this.#context.announce(copied);
    setTimeout(() => (label.textContent = before), COPIED);
  }
}

/** The answer as Markdown, with the addresses of its sources below. */
export function markdownOf(turn: Turn, citations: Map<number, Citation>, context: Context): string {
  const parts = /(```[^]*?(?:```|$)|`[^`\n]+`)|\[(\d{1,3})\]\([^()\s]*\)/g;
  const answer = String(turn.answer)
    .trim()
    .replace(parts, (whole, code, number) => (!code && citations.has(Number(number)) ? `[${number}]` : whole));
  const sources = [...citations.values()]
    .sort((a, b) => a.marker - b.marker)
    .map((each) => {
      const address = addressOf(each, context);
      const path = pathOf(each, context).replaceAll("\n", " ");
      return address ? `[${each.marker}]: ${address} (${path.replace(/[()\\]/g, "\\$&")})` : `${each.marker}. ${path}`;
    });
  return sources.length ? `${answer}\n\n${sources.join("\n")}\n` : `${answer}\n`;
}

/** What only screen readers read before a text. */
function unseen(text: string): HTMLElement {
  return make("span", { class: "unseen" }, `${text}: `);
}

function list<T>(value: T[] | undefined): T[] {
  return Array.isArray(value) ? value : [];
}

function action(
  path: string,
  label: string,
  onclick: (button: HTMLButtonElement) => void,
  labelled = false,
): HTMLButtonElement {
  const button: HTMLButtonElement = make(
    "button",
    { type: "button", class: labelled ? "choice" : "tool", onclick: () => onclick(button) },
    icon(path),
    make("span", { class: labelled ? null : "unseen" }, label),
  );
  if (!labelled) button.title = label;
  return button;
}
