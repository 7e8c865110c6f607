// A button beside text that the reader has selected in the page.

import { make } from "./dom.ts";
import type { Strings } from "./locales/en.ts";
import type { Selection } from "./types.ts";

const MIN_CHARACTERS = 3;
const MAX_CHARACTERS = 5_000;
/** Milliseconds without a change after which a selection is finished. */
const QUIET = 250;
const GAP = 8;
/** Below a selection, touch screens have handles. */
const HANDLE = 32;
const EDITORS = "input, textarea, [contenteditable], .CodeMirror, .cm-editor, .monaco-editor, .ace_editor";

/** The text that is selected in the page; null if there is none to ask about. */
export function currentSelection(): Selection | null {
  const selection = getSelection();
  if (!selection?.rangeCount || selection.isCollapsed) return null;
  const { commonAncestorContainer: around } = selection.getRangeAt(0);
  const element = around instanceof Element ? around : around.parentElement;
  const { host } = (element?.getRootNode() ?? {}) as Partial<ShadowRoot>;
  if (!element || element.closest(EDITORS) || host?.localName === "quire-ask") return null;
  if (document.activeElement?.matches(EDITORS)) return null;
  // Half of a surrogate pair at the end is dropped.
  const text = selection.toString().trim().slice(0, MAX_CHARACTERS).replace(/[\ud800-\udbff]$/, "");
  return text.length < MIN_CHARACTERS ? null : { text, source: location.href };
}

/**
 * Show a button at each selection, in `place`, an element of the widget. `ask` is called with the
 * text when the reader presses it.
 */
export function watchSelection(
  place: HTMLElement,
  strings: Strings,
  ask: (selection: Selection) => void,
): void {
  let shown: Selection | null = null;
  let timer: ReturnType<typeof setTimeout>;
  let frame = 0;
  let isPressed = false;
  let isChanged = false;

  const button = make("button", { type: "button", onclick: press }, strings.askSelection);
  const float = make(
    "div",
    {
      class: "about",
      popover: "manual",
      hidden: true,
      dir: strings.dir,
      // The selection stays as it is.
      onmousedown: (event: Event) => event.preventDefault(),
    },
    button,
  );
  place.append(float);

  function press(): void {
    const selection = shown;
    hide();
    if (selection) ask(selection);
  }

  function changed(): void {
    isChanged = true;
    clearTimeout(timer);
    // A drag is over when the pointer is released.
    if (!isPressed) timer = setTimeout(update, QUIET);
  }

  function update(): void {
    isChanged = false;
    shown = currentSelection();
    cancelAnimationFrame(frame);
    if (shown) frame = requestAnimationFrame(show);
    else hide();
  }

  function show(): void {
    if (!getSelection()?.rangeCount) return hide();
    const range = getSelection()!.getRangeAt(0);
    const { top } = edge(range, true);
    const { bottom, right } = edge(range, false);
    if (bottom < 0 || top > innerHeight) return hide();
    if (float.hidden) {
      float.hidden = false;
      float.showPopover?.();
      addEventListener("scroll", moved, { capture: true, passive: true });
      addEventListener("keydown", escape, true);
    }
    const { offsetWidth: width, offsetHeight: height } = float;
    const below = bottom + (matchMedia("(pointer: coarse)").matches ? HANDLE : GAP);
    const lowest = innerHeight - GAP - height;
    const above = top - GAP - height;
    // Nowhere beside a selection that fills the window.
    const y = below > lowest && above >= GAP ? above : Math.min(below, lowest);
    const x = Math.min(right - width / 2, document.documentElement.clientWidth - width - GAP);
    float.style.left = `${Math.max(GAP, x)}px`;
    float.style.top = `${Math.max(GAP, y)}px`;
  }

  function moved(): void {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(show);
  }

  function hide(): void {
    cancelAnimationFrame(frame);
    shown = null;
    if (float.hidden) return;
    float.hidePopover?.();
    float.hidden = true;
    removeEventListener("scroll", moved, true);
    removeEventListener("keydown", escape, true);
  }

  function escape({ key }: KeyboardEvent): void {
    if (key === "Escape") hide();
  }

  function pressed({ type }: Event): void {
    isPressed = type === "pointerdown";
    if (isChanged && !isPressed) changed();
  }

  document.addEventListener("selectionchange", changed);
  for (const type of ["pointerdown", "pointerup", "pointercancel"]) {
    addEventListener(type, pressed, { capture: true, passive: true });
  }
  // A selection may be what the app was loaded for.
  changed();
}

/** The rectangle of a selection's first or last character. The whole one may have thousands. */
function edge(range: Range, isStart: boolean): DOMRect {
  const { startContainer: start, startOffset, endContainer: end, endOffset } = range;
  const one = range.cloneRange();
  if (!isStart && end instanceof Text && endOffset) one.setStart(end, endOffset - 1);
  if (isStart && start instanceof Text && startOffset < start.length) one.setEnd(start, startOffset + 1);
  return one.getBoundingClientRect();
}
