// Where the conversation stands: a panel beside the page, a sheet over a narrow page, or in the page.

import { make } from "./dom.ts";
import type { QuireAsk } from "./loader.ts";
import pageCss from "./page.css";

/** Pixels of a downward swipe that closes the sheet. */
const SWIPE = 80;

/** Whether the panel has room beside the page. */
export const wide = matchMedia("(min-width: 1024px)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Panel {
  isOpen = false;
  readonly #quire: QuireAsk;
  readonly #dialog = make("dialog", { class: "panel", part: "panel", "aria-labelledby": "title" });
  readonly #room: CSSStyleSheet;
  readonly #closed: () => void;
  /** What had the focus before the panel opened. */
  #before: HTMLElement | null = null;

  /** `closed` is called after the reader or the author closed the panel. */
  constructor(quire: QuireAsk, room: CSSStyleSheet, content: HTMLElement, closed: () => void) {
    this.#quire = quire;
    this.#room = room;
    this.#closed = closed;
    const dialog = this.#dialog;
    dialog.append(content);
    quire.box!.append(dialog);
    wide.addEventListener("change", () => this.place());
    dialog.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
      event.preventDefault();
      this.close();
    });
    // Sites open their search with "/" or turn pages with arrows. They see no field here.
    for (const type of ["keydown", "keypress", "keyup"] as const) {
      dialog.addEventListener(type, (event) => {
        if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
      });
    }
    // The phone's "back", and what closes a modal dialog without asking.
    for (const type of ["cancel", "close"]) {
      dialog.addEventListener(type, (event) => {
        if (event.target !== dialog || (type === "close" && dialog.open)) return;
        event.preventDefault();
        this.close();
      });
    }
    dialog.addEventListener("click", ({ target }) => {
      if (target === dialog && dialog.matches(":modal")) this.close();
    });
    // A phone's keyboard covers the end of the window.
    const fit = (): void => {
      const { scale, height, offsetTop } = visualViewport!;
      if (scale !== 1) return;
      dialog.style.setProperty("--seen", `${height}px`);
      dialog.style.setProperty("--covered", `${innerHeight - height - offsetTop}px`);
    };
    visualViewport?.addEventListener("resize", fit);
    visualViewport?.addEventListener("scroll", fit);
  }

  /** Whether it covers the page. */
  get modal(): boolean {
    return this.#dialog.matches(":modal");
  }

  /** `quietly`: as it was on the page before. */
  open(quietly: boolean): void {
    if (this.isOpen) return;
    this.#before = deepestFocus();
    this.isOpen = true;
    this.place();
    if (quietly || still.matches) return;
    const from = wide.matches
      ? { opacity: 0, transform: `translateX(${this.#side() === "left" ? -16 : 16}px)` }
      : { transform: "translateY(100%)" };
    this.#dialog.animate([from, {}], { duration: 180, easing: "cubic-bezier(.2,.7,.3,1)" });
  }

  close(): void {
    if (!this.isOpen) return;
    const within = this.#quire.shadowRoot!.activeElement;
    this.isOpen = false;
    this.place();
    if (within) (this.#before?.isConnected ? this.#before : this.#quire.button)?.focus();
    this.#closed();
  }

  /** Show it as the window's width and the state ask for. */
  place(): void {
    const dialog = this.#dialog;
    const { button } = this.#quire;
    const focused = this.#quire.shadowRoot!.activeElement as HTMLElement | null;
    dialog.close();
    const docked = this.isOpen && wide.matches;
    dialog.classList.toggle("docked", docked);
    if (docked) dialog.open = true;
    else if (this.isOpen) dialog.showModal();
    if (this.isOpen) focused?.focus();
    if (button) button.hidden = this.isOpen;
    const css = docked ? pageCss.replaceAll(/right(?=:)/g, this.#side()) : "";
    this.#makeRoom(css);
    try {
      // Empty: the reader has closed it.
      sessionStorage.quireOpen = css;
    } catch {
      // Forbidden by the browser.
    }
  }

  /** The text is laid out anew. What the reader looks at stays where it is. */
  #makeRoom(css: string): void {
    const seen = document.elementFromPoint(innerWidth / 3, innerHeight / 3);
    const top = seen?.getBoundingClientRect().top;
    this.#room.replaceSync(css);
    const moved = seen && seen.getBoundingClientRect().top - top!;
    if (moved) scrollBy({ top: moved, behavior: "instant" });
  }

  /** The panel's side of the window: its end as the page's direction has it, or its start. */
  #side(): "left" | "right" {
    const toLeft = getComputedStyle(this.#quire).direction === "rtl";
    return toLeft === (this.#quire.option("position") === "start") ? "right" : "left";
  }

  /** Let the reader pull the sheet down by this element. */
  swipeBy(handle: HTMLElement): void {
    let start: number | undefined;
    const dialog = this.#dialog;
    const move = (event: PointerEvent): void => {
      if (start === undefined) return;
      const distance = Math.max(0, event.clientY - start);
      dialog.style.transform = `translateY(${distance}px)`;
      if (event.type === "pointermove") return;
      start = undefined;
      dialog.style.transform = "";
      if (event.type === "pointerup" && distance > SWIPE) this.close();
    };
    handle.addEventListener("pointerdown", (event) => {
      if (!this.modal || (event.target as Element).closest("button")) return;
      start = event.clientY;
      handle.setPointerCapture(event.pointerId);
    });
    for (const type of ["pointermove", "pointerup", "pointercancel"] as const) {
      handle.addEventListener(type, move);
    }
  }
}

/** Whether the reader has closed the panel during this visit. */
export function wasClosed(): boolean {
  try {
    return sessionStorage.quireOpen === "";
  } catch {
    return false;
  }
}

function deepestFocus(): HTMLElement | null {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return at as HTMLElement | null;
}
