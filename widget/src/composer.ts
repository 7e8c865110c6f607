// The text box, its button, and the selected text that the question is about.

import { icon, make } from "./dom.ts";
import { SearchList } from "./search.ts";
import type { Context, Selection } from "./types.ts";

const SEND = "M10 16V4.5M5 9l5-5 5 5";
const STOP = "M6 6h8v8H6zM7.5 7.5h5v5h-5zM9 9h2v2H9z";

export class Composer {
  readonly element: HTMLFormElement;
  readonly pages: SearchList;
  readonly #context: Context;
  readonly #field: HTMLTextAreaElement;
  readonly #button: HTMLButtonElement;
  readonly #chip = make("div", { class: "chip", hidden: true });
  #selection: Selection | undefined;
  #busy = false;

  constructor(context: Context) {
    const { strings } = context;
    this.#context = context;
    this.#field = make("textarea", {
      part: "input",
      rows: "1",
      maxlength: "1000",
      autocomplete: "off",
      enterkeyhint: "send",
      "aria-label": strings.question,
      oninput: () => this.#changed(),
      onkeydown: (event: KeyboardEvent) => this.#key(event),
    });
    this.pages = new SearchList(context, this.#field, () => this.#send());
    this.#button = make("button", { class: "send", part: "send", type: "submit" });
    this.element = make(
      "form",
      {
        class: "composer",
        part: "composer",
        onsubmit: (event: Event) => {
          event.preventDefault();
          if (this.#busy) context.stop();
          else this.#send();
        },
      },
      this.#chip,
      make("div", { class: "field" }, this.#field, this.#button),
      this.pages.element,
    );
    this.setBusy(false);
  }

  setBusy(busy: boolean): void {
    const { strings } = this.#context;
    this.#busy = busy;
    this.#button.ariaLabel = this.#button.title = busy ? strings.stop : strings.send;
    this.#button.replaceChildren(icon(busy ? STOP : SEND));
    this.#changed();
  }

  select(selection: Selection | undefined): void {
    const { strings } = this.#context;
    this.#selection = selection;
    this.#chip.hidden = !selection;
    if (!selection) return;
    this.#chip.replaceChildren(
      make("span", { class: "label" }, strings.aboutSelection),
      make("q", {}, selection.text),
      make(
        "button",
        {
          class: "tool",
          type: "button",
          "aria-label": strings.removeSelection,
          title: strings.removeSelection,
          onclick: () => {
            this.select(undefined);
            this.focus();
          },
        },
        icon("M6 6l8 8M14 6l-8 8"),
      ),
    );
  }

  set placeholder(text: string) {
    this.#field.placeholder = text;
  }

  /** Write a question that cannot be asked now. */
  draft(question: string): void {
    this.#field.value = question;
    this.#changed();
  }

  focus(): void {
    this.#field.focus();
  }

  #key(event: KeyboardEvent): void {
    // Safari ends a composition before the key that ended it: its code is 229.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    if (!this.#busy) this.#send();
  }

  #send(): void {
    const question = this.#field.value.trim();
    if (!question) return this.focus();
    const selection = this.#selection;
    this.pages.close();
    this.#field.value = "";
    this.select(undefined);
    this.#changed();
    this.#context.ask(question, selection);
  }

  #changed(): void {
    const field = this.#field;
    this.#button.disabled = !this.#busy && !field.value.trim();
    field.style.height = "auto";
    field.style.height = field.scrollHeight ? `${field.scrollHeight}px` : "";
  }
}
