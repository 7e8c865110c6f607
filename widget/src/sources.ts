// The sources of an answer: numbered chips in the text, a preview beside them, and the list below.

import { safeAddress, withHighlight } from "./addresses.ts";
import { make } from "./dom.ts";
import { fill } from "./i18n.ts";
import type { Citation, Context } from "./types.ts";

/** Heading of the reader's selection, as the server names it. */
const SELECTION = "Selected text";
const MAX_EXCERPT = 400;
const MAX_PATH = 300;

/** A citation whose fields are of the right types, or null. What sessionStorage has may be anything. */
export function readCitation(value: unknown): Citation | null {
  const { marker, text, source } = (value ?? {}) as Partial<Citation>;
  if (!Number.isInteger(marker) || marker! < 0 || marker! > 999 || !source) return null;
  const string = (each: unknown) => (typeof each === "string" ? each : "");
  return {
    marker: marker!,
    text: string(text).slice(0, MAX_EXCERPT),
    source: {
      chapter: string(source.chapter),
      section: string(source.section),
      heading: string(source.heading),
      file_path: string(source.file_path),
      url: typeof source.url === "string" ? source.url : null,
    },
  };
}

/** Chapter › section › heading, each once. */
export function pathOf({ source }: Pick<Citation, "source">, context: Context): string {
  const { chapter, section, heading, file_path } = source;
  if (heading === SELECTION) return context.strings.selectedText;
  const parts = new Set([chapter, section, heading].map((part) => part.trim()).filter(Boolean));
  return ([...parts].join(" › ") || file_path).slice(0, MAX_PATH);
}

/** Where a citation leads, or null. */
export function addressOf({ source }: Pick<Citation, "source">, context: Context): string | null {
  return safeAddress(context.resolve(source.url));
}

/** The number of a citation in the text: a link, or a button that shows the preview. */
export function makeChip(citation: Citation, marked: string | null, context: Context): HTMLElement {
  const address = addressOf(citation, context);
  const number = String(citation.marker);
  const attributes = {
    class: "cite",
    part: "citation",
    "data-source": number,
    "aria-label": `${fill(context.strings.source, { n: number })}: ${pathOf(citation, context)}`,
  };
  if (!address) return make("button", { ...attributes, type: "button" }, number);
  const href = withHighlight(address, marked);
  return make("a", { ...attributes, href, rel: "noopener nofollow" }, number);
}

/** The list below an answer. */
export class SourceList {
  readonly element: HTMLElement;
  #list = make("ol");
  #context: Context;

  constructor(context: Context) {
    this.#context = context;
    const heading = make("h4", {}, context.strings.sources);
    this.element = make("section", { class: "sources", part: "sources", hidden: true }, heading, this.#list);
  }

  add(citation: Citation): void {
    const address = addressOf(citation, this.#context);
    const number = String(citation.marker);
    const title = [
      make("span", { class: "number", "aria-hidden": "true" }, number),
      make("span", { class: "path", dir: "auto" }, pathOf(citation, this.#context)),
    ];
    const item = make(
      "li",
      { value: number },
      address
        ? make("a", { class: "source", href: address, rel: "noopener nofollow", "data-source": number }, ...title)
        : make("span", { class: "source" }, ...title),
      citation.text ? make("p", { class: "excerpt", dir: "auto" }, citation.text) : null,
    );
    const after = [...this.#list.children].find((each) => (each as HTMLLIElement).value > citation.marker);
    this.#list.insertBefore(item, after ?? null);
    this.element.hidden = false;
  }
}

/** Milliseconds of rest on a chip before its preview, and to get from the chip to the preview. */
const DELAY = 150;
const GAP = 6;

/** Heading path and excerpt of the chip that the pointer or the focus is on. */
export class Preview {
  readonly element: HTMLElement;
  #context: Context;
  #citations: Map<number, Citation>;
  #chip: HTMLElement | null = null;
  /** Ends the listeners of a shown preview. */
  #shown: AbortController | undefined;
  #timer = 0;

  /** Chips are looked for in `area`. */
  constructor(area: HTMLElement, citations: Map<number, Citation>, context: Context) {
    this.#context = context;
    this.#citations = citations;
    this.element = make("div", { class: "preview", popover: "manual" });
    const within = ({ target }: Event) => (target as Element).closest<HTMLElement>(".cite");
    area.addEventListener("pointerover", (event) => {
      if (event.pointerType === "touch") return;
      const chip = within(event);
      if (chip) this.#soon(() => this.show(chip));
      else if (!this.element.contains(event.target as Node)) this.#soon(() => this.hide());
      else clearTimeout(this.#timer);
    });
    area.addEventListener("pointerleave", () => this.#soon(() => this.hide()));
    area.addEventListener("focusin", (event) => {
      const chip = within(event);
      if (chip?.matches(":focus-visible")) this.show(chip);
    });
    area.addEventListener("focusout", (event) => {
      if (within(event) && !this.element.contains(event.relatedTarget as Node | null)) this.hide();
    });
    area.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#chip) return;
      this.hide();
      event.preventDefault(); // Escape would close the panel
    });
  }

  /** Whether the preview of a chip is shown. */
  shows(chip: Element): boolean {
    return this.#chip === chip;
  }

  show(chip: HTMLElement): void {
    const citation = this.#citations.get(Number(chip.dataset.source));
    // The turn may be gone since the pointer came.
    if (!citation || !chip.isConnected || !("showPopover" in this.element)) return;
    const href = chip.getAttribute("href");
    const link = { href, rel: "noopener nofollow", tabindex: "-1", "data-source": String(citation.marker) };
    this.element.replaceChildren(
      make("p", { class: "path", dir: "auto" }, pathOf(citation, this.#context)),
      citation.text ? make("p", { class: "excerpt", dir: "auto" }, citation.text) : "",
      href ? make("a", link, this.#context.strings.openSource) : "",
    );
    this.hide();
    this.element.showPopover();
    this.#place(chip.getBoundingClientRect());
    this.#chip = chip;
    const options = { capture: true, signal: (this.#shown = new AbortController()).signal };
    for (const target of [window, this.#context.root]) target.addEventListener("scroll", () => this.hide(), options);
    document.addEventListener(
      "pointerdown",
      (event) => {
        const path = event.composedPath();
        if (!path.includes(this.element) && !path.includes(chip)) this.hide();
      },
      options,
    );
  }

  hide(): void {
    clearTimeout(this.#timer);
    if (!this.#chip) return;
    this.#chip = null;
    this.#shown?.abort();
    this.element.hidePopover();
  }

  #soon(then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, DELAY);
  }

  /** Below the chip, or above it if there is more room. */
  #place(chip: DOMRect): void {
    const { width, height } = this.element.getBoundingClientRect();
    const left = Math.min(chip.left + chip.width / 2 - width / 2, innerWidth - width - GAP);
    const below = chip.bottom + GAP + height <= innerHeight || chip.top < height + GAP;
    this.element.style.left = `${Math.max(GAP, left)}px`;
    this.element.style.top = `${below ? chip.bottom + GAP : chip.top - height - GAP}px`;
  }
}
