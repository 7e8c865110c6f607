// Thumbs under an answer, and what is wrong with it.

import { icon, make } from "./dom.ts";
import type { Context, Reason, Turn, Vote } from "./types.ts";

const THUMB = "M6.5 9l2.9-5.6a1.7 1.7 0 0 1 1.6 2.1L10.5 8h4.6a1.6 1.6 0 0 1 1.6 1.9l-1 5.5a1.6 1.6 0 0 1-1.6 1.4H6.5M6.5 9v7.8M6.5 9h-3v7.8h3";
const MAX_NOTE = 1_000;

export class Feedback {
  /** The two thumbs. */
  readonly buttons: HTMLElement;
  /** The reasons, and thanks. */
  readonly form: HTMLElement;
  #turn: Turn;
  #context: Context;
  #up: HTMLButtonElement;
  #down: HTMLButtonElement;
  #sending = false;
  #vote: Vote | undefined;

  constructor(turn: Turn, context: Context) {
    this.#turn = turn;
    this.#context = context;
    this.#vote = turn.vote === "up" || turn.vote === "down" ? turn.vote : undefined;
    const { helpful, notHelpful } = context.strings;
    this.#up = thumb("up", helpful, () => this.#send("up"));
    this.#down = thumb("down", notHelpful, () => this.#ask());
    this.buttons = make("span", { class: "thumbs" }, this.#up, this.#down);
    this.form = make("div", { class: "feedback" });
    this.#show();
  }

  #show(): void {
    const asking = !!this.form.querySelector("form");
    this.#up.setAttribute("aria-pressed", String(this.#vote === "up"));
    this.#down.setAttribute("aria-pressed", String(this.#vote === "down" || asking));
    this.#down.setAttribute("aria-expanded", String(asking));
    // Not disabled, which would lose the focus.
    for (const button of [this.#up, this.#down]) button.toggleAttribute("aria-disabled", false);
    if (!this.#vote) return;
    for (const button of [this.#up, this.#down]) button.setAttribute("aria-disabled", "true");
  }

  #ask(): void {
    if (this.#vote || this.#sending) return;
    if (this.form.firstChild?.nodeName === "FORM") {
      this.form.replaceChildren();
      this.#show();
      return;
    }
    const { strings } = this.#context;
    const reasons: [Reason, string][] = [
      ["wrong", strings.reasonWrong],
      ["incomplete", strings.reasonIncomplete],
      ["unclear", strings.reasonUnclear],
      ["source", strings.reasonSource],
      ["other", strings.reasonOther],
    ];
    const reason = () => (new FormData(form).get("reason") as Reason | null) ?? undefined;
    const note = make("textarea", { rows: "2", maxlength: String(MAX_NOTE), dir: "auto" });
    const form = make(
      "form",
      {
        onsubmit: (event: SubmitEvent) => {
          event.preventDefault();
          this.#send("down", reason(), note.value.trim() || undefined);
        },
      },
      make(
        "fieldset",
        {},
        make("legend", {}, strings.whatIsWrong),
        ...reasons.map(([value, label]) =>
          make("label", { class: "reason" }, make("input", { type: "radio", name: "reason", value }), label),
        ),
      ),
      make("label", { class: "note" }, strings.note, note),
      make("button", { type: "submit", class: "choice" }, strings.sendFeedback),
    );
    this.form.replaceChildren(form);
    // A reader who presses the thumb and follows a source does not come back to the form. Only
    // "Send" sends the note.
    addEventListener("pagehide", () => form.isConnected && this.#send("down", reason()), { once: true });
    form.querySelector("input")!.focus();
    this.#show();
  }

  async #send(vote: Vote, reason?: Reason, note?: string): Promise<void> {
    if (this.#vote || this.#sending) return;
    const { strings } = this.#context;
    this.#sending = true;
    const counted = await this.#context.vote(this.#turn, vote, reason, note).catch(() => false);
    this.#sending = false;
    if (counted) {
      const button = vote === "up" ? this.#up : this.#down;
      if (this.form.matches(":focus-within")) button.focus();
      this.#vote = vote;
      this.form.replaceChildren(make("p", {}, strings.thanks));
      this.#context.announce(strings.thanks);
    } else {
      this.form.querySelector(":scope > p, form > p")?.remove();
      (this.form.querySelector("form") ?? this.form).append(make("p", {}, strings.unreachable));
      this.#context.announce(strings.unreachable);
    }
    this.#show();
  }
}

function thumb(name: Vote, label: string, onclick: () => void): HTMLButtonElement {
  const attributes = { class: `tool ${name}`, type: "button", "aria-label": label, title: label, onclick };
  return make("button", attributes, icon(THUMB));
}
