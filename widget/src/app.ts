// The app, loaded at the reader's first intent.

import answerCss from "./answer.css";
import type { TurnView } from "./answer.ts";
import { ApiError, ask, readConfig, sendVote } from "./api.ts";
import { Composer } from "./composer.ts";
import composerCss from "./composer.css";
import { Conversation, isRunning } from "./conversation.ts";
import { icon, make } from "./dom.ts";
import { highlightOnArrival } from "./highlight.ts";
import { fill, loadStrings } from "./i18n.ts";
import type { QuireAsk } from "./loader.ts";
import type { Strings } from "./locales/en.ts";
import { openAddress, resolveAddress } from "./navigation.ts";
import { Panel, wasClosed, wide } from "./panel.ts";
import panelCss from "./panel.css";
import searchCss from "./search.css";
import { currentSelection, watchSelection } from "./selection.ts";
import selectionCss from "./selection.css";
import { Transcript } from "./transcript.ts";
import themeCss from "./theme.css";
import type { Context, Reason, Selection, Turn, Vote } from "./types.ts";

/** Characters of an answer that are read to the reader. */
const MOST_ANNOUNCED = 1_500;

const styles = new CSSStyleSheet();
styles.replaceSync(themeCss + panelCss + composerCss + searchCss + selectionCss + answerCss);

/** `room`: the page's style sheet for the panel's room. */
export async function start(quire: QuireAsk, room: CSSStyleSheet): Promise<App> {
  const language = (quire.option("lang") ?? document.documentElement.lang).slice(0, 2);
  highlightOnArrival();
  return new App(quire, room, language, await loadStrings(language));
}

export class App {
  readonly #quire: QuireAsk;
  readonly #context: Context;
  readonly #conversation: Conversation;
  readonly #transcript: Transcript;
  readonly #composer: Composer;
  readonly #panel: Panel | undefined;
  readonly #title = make("h2", { id: "title", part: "title" });
  readonly #restart: HTMLButtonElement;
  readonly #live = make("div", { class: "unseen", role: "status" });
  /** The answer that is being received. */
  #running: AbortController | undefined;

  constructor(quire: QuireAsk, room: CSSStyleSheet, language: string, strings: Strings) {
    const host = (quire.option("host") ?? new URL("..", import.meta.url).href).replace(/\/$/, "");
    const box = quire.box!;
    const root = quire.shadowRoot!;
    const inline = quire.option("mode") === "inline";
    const key = `quire:${inline ? "inline:" : ""}${host}`;
    const conversation = new Conversation(key, strings.interrupted);
    this.#quire = quire;
    this.#conversation = conversation;
    this.#context = {
      host,
      element: quire,
      root,
      language,
      strings,
      book: conversation.book,
      ask: (question, selection) => this.#ask(question, selection),
      retry: (turn) => this.#retry(turn),
      stop: () => this.#running?.abort(),
      vote: (turn, vote, reason, note) => this.#vote(turn, vote, reason, note),
      open: (url, excerpt) => {
        // A sheet would cover it.
        if (this.#panel?.modal && new URL(url).origin === location.origin) this.close();
        openAddress(url, excerpt);
      },
      resolve: (url) => resolveAddress(url, { host, local_pages: this.#context.book.local_pages }),
      announce: (text) => {
        this.#live.textContent = text;
      },
    };
    this.#restart = tool(strings.newConversation, "M10 4.5v11M4.5 10h11", () => this.#clear());
    this.#composer = new Composer(this.#context);
    this.#transcript = new Transcript(this.#context, inline);
    for (const turn of conversation.turns) this.#transcript.add(turn);
    this.#begin(!!conversation.turns.length);

    root.adoptedStyleSheets.push(styles);
    // Without the mark of a failed attempt.
    if (quire.button) quire.button.textContent = box.ariaLabel;
    const header = make(
      "header",
      { part: "header" },
      !inline && this.#title,
      this.#restart,
      !inline && tool(strings.close, "M5 5l10 10M15 5L5 15", () => this.close()),
    );
    const parts = [header, this.#transcript.element, this.#composer.element];
    if (inline) {
      this.#title.className = "unseen";
      parts.unshift(this.#title, parts.pop()!);
    }
    const frame = make("div", { class: "frame", lang: language, dir: strings.dir }, ...parts, this.#live);
    if (inline) box.replaceChildren(frame);
    else {
      this.#panel = new Panel(quire, room, frame, () => this.#tell("quire-close"));
      this.#panel.swipeBy(header);
      watchSelection(box, strings, (selection) => this.#about(selection));
    }
    this.#name();
    addEventListener("pagehide", () => conversation.save());
    const shortcut = quire.option("shortcut") ?? "Ctrl+I";
    if (quire.button && shortcut !== "none") {
      quire.button.title = shortcut;
      quire.button.setAttribute("aria-keyshortcuts", shortcut.replace("Ctrl", "Control"));
    }
    readConfig(host).then((book) => {
      // An empty one: the host does not answer.
      if (!book.title && !book.questions.length) return;
      this.#context.book = conversation.book = book;
      this.#name();
    });
  }

  open(question?: string, toggle?: boolean): void {
    if (toggle && this.#panel?.isOpen && this.#context.root.activeElement) return this.close();
    const selection = toggle && currentSelection();
    if (selection) return this.#about(selection);
    this.#show();
    this.#composer.focus();
    if (question?.trim()) this.#ask(question.trim());
  }

  #about(selection: Selection): void {
    this.#show();
    this.#composer.select(selection);
    this.#composer.focus();
  }

  close(): void {
    this.#panel?.close();
  }

  /** Show the panel as the page begins, unless the reader has closed it on a page before. */
  restore(): void {
    if (wide.matches && !wasClosed()) this.#show(true);
  }

  /** The element stands in the document again. */
  attached(): void {
    this.#panel?.place();
  }

  #show(quietly = false): void {
    if (!this.#panel || this.#panel.isOpen) return;
    this.#panel.open(quietly);
    this.#tell("quire-open");
  }

  #ask(question: string, selection?: Selection): void {
    if (this.#running) return this.#composer.draft(question);
    const turn = this.#conversation.add(question, selection);
    this.#begin(true);
    this.#tell("quire-ask", { question });
    this.#receive(turn, this.#transcript.add(turn));
    // The button that was pressed may be gone.
    const { root } = this.#context;
    if (!root.activeElement?.checkVisibility()) this.#transcript.element.focus({ preventScroll: true });
  }

  /** `hasTurns`: whether there is a conversation. */
  #begin(hasTurns: boolean): void {
    this.#restart.hidden = !hasTurns;
    this.#composer.pages.enabled = !hasTurns;
  }

  #retry(turn: Turn): void {
    if (this.#running) return;
    if (turn.state !== "done") {
      this.#conversation.remove(turn);
      this.#transcript.remove(turn);
    }
    this.#ask(turn.question, turn.selection);
  }

  async #receive(turn: Turn, view: TurnView): Promise<void> {
    const { host, strings, announce } = this.#context;
    const running = (this.#running = new AbortController());
    this.#composer.setBusy(true);
    announce(strings.answering);
    try {
      for await (const event of ask(host, this.#request(turn), running.signal, strings)) {
        if (event.type === "chunk") {
          turn.answer += event.content;
          if (turn.state !== "streaming") {
            turn.state = "streaming";
            view.update();
          }
          view.write(event.content);
        } else if (event.type === "citation") {
          turn.citations.push(event.citation);
          view.cite(event.citation);
        } else if (event.type === "waking") {
          turn.state = "waking";
          announce(strings.waking);
          view.update();
        } else if (event.type === "done") {
          turn.done = event;
          turn.state = "done";
        } else {
          turn.problem = { message: event.error, code: event.code };
        }
      }
    } catch (error) {
      if (error instanceof ApiError) turn.problem = error.problem;
      else if (!running.signal.aborted) console.error(error);
    }
    if (isRunning(turn)) {
      turn.state = running.signal.aborted ? "stopped" : "failed";
      if (turn.state === "failed") turn.problem ??= { message: strings.interrupted, code: "INTERRUPTED" };
    }
    this.#running = undefined;
    this.#composer.setBusy(false);
    view.update();
    announce(turn.problem?.message ?? (turn.state === "stopped" ? strings.stopped : spoken(turn.answer)));
    this.#conversation.save();
  }

  async #vote(turn: Turn, vote: Vote, reason?: Reason, note?: string): Promise<boolean> {
    const answer_id = turn.done?.answer_id;
    if (!answer_id) return false;
    const { host } = this.#context;
    turn.vote = vote;
    this.#conversation.save(); // before the answer: the reader may be leaving the page
    const counted = await sendVote(host, { answer_id, vote, ...(reason && { reason }), ...(note && { note }) });
    if (counted) this.#transcript.view(turn)?.update();
    else delete turn.vote;
    this.#conversation.save();
    return counted;
  }

  #request(turn: Turn) {
    const { selection } = turn;
    return {
      question: turn.question,
      session_id: this.#conversation.session,
      page: location.href.slice(0, 500),
      ...(selection && { context: { selectedText: selection.text, source: selection.source } }),
    };
  }

  #clear(): void {
    this.#running?.abort();
    for (const turn of this.#conversation.turns) this.#transcript.remove(turn);
    this.#conversation.clear();
    this.#begin(false);
    this.#composer.focus();
  }

  /** Write the book's name and its questions. */
  #name(): void {
    const { strings, book } = this.#context;
    const { title, questions } = book;
    const name = title ? fill(strings.askBook, { title }) : strings.askThisBook;
    this.#title.textContent = name;
    // The panel has the name above it.
    this.#composer.placeholder =
      this.#quire.option("placeholder") ?? (this.#panel ? strings.placeholder : name);
    const own = this.#quire.option("questions")?.split("|");
    this.#transcript.offer((own ?? questions).map((each) => each.trim()).filter(Boolean));
  }

  #tell(name: string, detail?: object): void {
    this.#quire.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }
}

function tool(label: string, path: string, onclick: () => void): HTMLButtonElement {
  const attributes = { class: "tool", type: "button", "aria-label": label, title: label, onclick };
  return make("button", attributes, icon(path));
}

/** An answer's text without its Markdown, for the live region. */
function spoken(answer: string): string {
  const text = answer
    .replace(/\[\d+\](\([^)\s]*\))?/g, "")
    .replace(/\[([^\]]*)\]\([^)\s]*\)/g, "$1")
    .replace(/[*_`#>|]+/g, "");
  return text.length > MOST_ANNOUNCED ? `${text.slice(0, MOST_ANNOUNCED)} …` : text;
}
