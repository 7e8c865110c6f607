// The conversation as the reader sees it. It follows the answer while the reader is at the end, until
// the question is at the top: answers are read from their beginning.

import { TurnView } from "./answer.ts";
import { make } from "./dom.ts";
import type { Context, Turn } from "./types.ts";

/** Pixels above the end that still count as the end. */
const NEAR = 48;
/** Pixels above the question. */
const MARGIN = 16;

export class Transcript {
  readonly element: HTMLElement;
  readonly #context: Context;
  readonly #newestFirst: boolean;
  readonly #list = make("div", { class: "turns" });
  readonly #start = make("div", { class: "start" });
  readonly #views = new Map<Turn, TurnView>();
  /** Whether the reader is at the end. */
  #following = true;
  /** The question that stays in view. */
  #latest: HTMLElement | undefined;

  /** In the page, the newest turn is the first, and nothing scrolls. */
  constructor(context: Context, inline: boolean) {
    const { strings } = context;
    this.#context = context;
    this.#newestFirst = inline;
    const content = make("div", {}, this.#start, this.#list);
    this.element = make(
      "div",
      {
        class: "conversation",
        part: "conversation",
        role: "region",
        "aria-label": strings.conversation,
        tabindex: inline ? "-1" : "0",
        onscroll: () => {
          const { scrollHeight, scrollTop, clientHeight } = this.element;
          this.#following = scrollHeight - scrollTop - clientHeight < NEAR;
          // The reader has gone on to the end.
          if (scrollTop > this.#top() + 1) this.#latest = undefined;
        },
      },
      content,
    );
    if (!inline) new ResizeObserver(() => this.#follow()).observe(content);
  }

  add(turn: Turn): TurnView {
    const view = new TurnView(turn, this.#context);
    this.#views.set(turn, view);
    if (this.#newestFirst) this.#list.prepend(view.element);
    else this.#list.append(view.element);
    this.#start.hidden = true;
    this.#latest = view.element;
    this.#following = true;
    return view;
  }

  view(turn: Turn): TurnView | undefined {
    return this.#views.get(turn);
  }

  remove(turn: Turn): void {
    this.#views.get(turn)?.element.remove();
    this.#views.delete(turn);
    this.#start.hidden = this.#views.size > 0;
  }

  /** What an empty conversation shows. */
  offer(questions: string[]): void {
    const { strings, ask } = this.#context;
    this.#start.replaceChildren(
      make("p", { class: "intro" }, strings.intro),
      questions.length > 0 &&
        make(
          "div",
          { class: "starters", role: "group", "aria-label": strings.tryAsking },
          ...questions.map((question) =>
            make("button", { class: "choice", type: "button", onclick: () => ask(question) }, question),
          ),
        ) || "",
    );
  }

  #follow(): void {
    if (this.#following) this.element.scrollTop = Math.min(this.element.scrollHeight, this.#top());
  }

  /** How far to scroll until the latest question is at the top. */
  #top(): number {
    return this.#latest ? this.#latest.offsetTop - this.element.offsetTop - MARGIN : Infinity;
  }
}
