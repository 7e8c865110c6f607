// Defines <quire-ask> and shows its button. The app is loaded at the reader's first intent.

import type { App } from "./app.ts";
import css from "./loader.css";
import { colorScheme, html, watchTheme } from "./theme.ts";

const NAME = "quire-ask";
/** The button's text, by language. */
const LABELS: Record<string, string> = {
  es: "Preguntar",
  de: "Fragen",
  fr: "Demander",
  pt: "Perguntar",
  zh: "提问",
  ja: "質問する",
  ar: "اسأل",
  hi: "पूछें",
  ur: "پوچھیں",
};

const current = document.currentScript as Element | null;
// A module has no currentScript. `<img name="currentScript">` of a comment may stand for it.
const script = (
  current?.matches("script") ? current : document.querySelector("script[src$='widget.js']")
) as HTMLScriptElement;

/** For the page: the room of the open panel, which is kept for the first paint of the next page. */
const room = new CSSStyleSheet();
let failures = 0;
/** The element with the button. A second one stays empty; any number may stand in the page (inline). */
let floating: QuireAsk | undefined;

export class QuireAsk extends HTMLElement {
  /** All that the element shows. Missing if another element has the button. */
  declare box?: HTMLElement;
  declare button?: HTMLButtonElement;
  #app: Promise<App> | undefined;

  /** An option of the author: an attribute of the element, else of the script. */
  option(name: string): string | undefined {
    return this.getAttribute(name) ?? script.dataset[name];
  }

  connectedCallback(): void {
    if (this.box) return void this.#app?.then((app) => app.attached());
    const mode = this.option("mode") ?? "button";
    if (mode !== "inline") {
      if (floating) return;
      floating = this;
    }
    const language = (this.option("lang") ?? html.lang).slice(0, 2);
    const box = (this.box = document.createElement("aside"));
    box.className = `quire ${mode} ${this.option("position")}`;
    const label = (box.ariaLabel = this.option("label") ?? LABELS[language] ?? "Ask");
    if (/button|panel/.test(mode)) {
      const button = (this.button = document.createElement("button"));
      button.part = "button";
      button.textContent = label;
      button.onclick = () => this.open();
      box.append(button);
    }
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    root.append(box);
    watchTheme(() => (box.style.colorScheme = colorScheme(this.option("theme"))));

    const show = () => this.load().then((app) => app.restore());
    if (mode === "inline") {
      return new IntersectionObserver(([entry]) => entry!.isIntersecting && idle(show)).observe(box);
    }
    document.adoptedStyleSheets.push(room);
    if (innerWidth > 1023 && mode === "panel") idle(show);
    try {
      room.replaceSync(sessionStorage.quireOpen);
      if (sessionStorage.quireOpen) show();
      if (sessionStorage.quireArrival) this.load();
    } catch {
      // Forbidden by the browser.
    }
  }

  // Routers replace <body>.
  disconnectedCallback(): void {
    if (this === floating) queueMicrotask(() => this.isConnected || document.body.append(this));
  }

  /** Show the panel, and ask the question if there is one. `toggle`: close it if the reader is in it. */
  open(question?: string, toggle?: boolean): void {
    this.load().then((app) => app.open(question, toggle));
  }

  close(): void {
    this.#app?.then((app) => app.close());
  }

  load(): Promise<App> {
    if (!this.box) return floating!.load();
    // Some browsers remember a failed import by its address.
    return (this.#app ??= import(new URL(`${APP_FILE}#${failures}`, script.src) as unknown as string)
      .then(({ start }) => start(this, room))
      .catch((error) => {
        room.replaceSync("");
        failures++ || this.button?.append(" ⚠");
        this.#app = undefined;
        throw error;
      }));
  }
}

// Safari has no requestIdleCallback.
const idle = window.requestIdleCallback ?? setTimeout;

/** The element that opens when the reader presses the shortcut or the author's trigger. */
const target = (): QuireAsk | null => floating ?? document.querySelector<QuireAsk>(NAME);

if (!customElements.get(NAME)) {
  customElements.define(NAME, QuireAsk);

  for (const type of ["pointerover", "focusin", "click", "selectionchange"]) {
    document.addEventListener(type, (event) => {
      const found = (event.target as Element).closest?.<HTMLElement>(`[data-quire-open],${NAME}`);
      // Selected text can be asked about. After a failure, only a click or a key tries again.
      if (!failures && (found || getSelection()!.type === "Range")) target()?.load();
      const question = found?.dataset.quireOpen;
      if (type === "click" && question != null) {
        event.preventDefault();
        target()?.open(question);
      }
    });
  }

  addEventListener("keydown", (event) => {
    const names = (["ctrl", "alt", "meta", "shift"] as const).filter((name) => event[(name + "Key") as "altKey"]);
    // By the key's place if the layout has no Latin letters.
    const pressed = [...names, event.key > "~" ? event.code.slice(3) : event.key].join("+").toLowerCase();
    if (
      pressed === (target()?.option("shortcut") ?? "Ctrl+I").toLowerCase() &&
      !event.defaultPrevented &&
      // Shift alone, or nothing: the reader may be typing.
      (names[0]! < "shift" ||
        !(event.composedPath()[0] as Element).matches("input,textarea,select,[contenteditable]"))
    ) {
      event.preventDefault();
      target()!.open("", true);
    }
  });
}

const ensure = (): void => {
  if (!document.querySelector(NAME)) document.body.append(document.createElement(NAME));
};
// The author's own element may be still to come.
if (document.readyState === "loading") addEventListener("DOMContentLoaded", ensure);
else ensure();
