// Stands for modules that are being written.
import { make } from "./dom.ts";
import type { Citation, Context, Selection, Turn } from "./types.ts";

export class TurnView {
  readonly element: HTMLElement;
  readonly #text = make("div");
  readonly #turn: Turn;
  constructor(turn: Turn, context: Context) {
    this.#turn = turn;
    this.element = make("article", { class: "turn" }, make("h3", { class: "question" }, turn.question), this.#text);
    this.#text.append(turn.answer);
    void context;
    this.update();
  }
  write(delta: string): void {
    this.#text.append(delta);
  }
  cite(citation: Citation): void {
    void citation;
  }
  update(): void {
    this.element.dataset.state = this.#turn.state;
    if (this.#turn.problem) this.#text.append(this.#turn.problem.message);
  }
}

export function watchSelection(_: HTMLElement, __: unknown, ___: (selection: Selection) => void): () => void {
  return () => {};
}
