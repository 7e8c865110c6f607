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
  if (!element || element.closest(`quire-ask, ${EDITORS}`)) return null;
  if (document.activeElement?.matches(EDITORS)) return null;
  // Half of a surrogate pair at the end is dropped.
  const text = selection.toString().trim().slice(0, MAX_CHARACTERS).replace(/[\ud800-\udbff]$/, "");
  return text.length < MIN_CHARACTERS ? null : { text, source: location.href };
}

/**
 * Show a button at each selection, in `place`, an element of the widget. `ask` is called with the
 * text when the reader presses it. Returns a function that ends this.
 */
export function watchSelection(
  place: HTMLElement,
  strings: Strings,
  ask: (selection: Selection) => void,
): () => void {
  let shown: Selection | null = null;
  let timer: ReturnType<typeof setTimeout>;
  let frame = 0;
  let isPressed = false;
  let isChanged = false;

  const button = make("button", { type: "button", onclick: press }, strings.askSelection);
  const float = make("div", { class: "selection", popover: "manual", hidden: true, dir: strings.dir }, button);
  // A press on the button leaves the selection as it is.
  float.addEventListener("pointerdown", (event) => event.preventDefault());
  float.addEventListener("mousedown", (event) => event.preventDefault());
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
    const target = placeOf(getSelection());
    if (!target) return hide();
    if (float.hidden) {
      float.hidden = false;
      float.showPopover?.();
      addEventListener("scroll", moved, { capture: true, passive: true });
      addEventListener("resize", moved);
      addEventListener("keydown", escape, true);
    }
    const { offsetWidth: width, offsetHeight: height } = float;
    const gap = matchMedia("(pointer: coarse)").matches ? HANDLE : GAP;
    const { clientWidth } = document.documentElement;
    const tops = [target.bottom + gap, target.top - GAP - height];
    const fits = (top: number) => top >= GAP && top + height <= innerHeight - GAP;
    // Nowhere beside a selection that fills the window.
    const top = tops.find(fits) ?? innerHeight - GAP - height;
    const left = Math.max(GAP, Math.min(target.x - width / 2, clientWidth - width - GAP));
    float.style.left = `${left}px`;
    float.style.top = `${top}px`;
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
    removeEventListener("resize", moved);
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
  const pointer = ["pointerdown", "pointerup", "pointercancel"];
  for (const type of pointer) addEventListener(type, pressed, { capture: true, passive: true });
  return () => {
    clearTimeout(timer);
    hide();
    float.remove();
    document.removeEventListener("selectionchange", changed);
    for (const type of pointer) removeEventListener(type, pressed, true);
  };
}

/** Where the button may stand: below `bottom`, or above `top`. Null if the end is out of view. */
function placeOf(selection: globalThis.Selection | null): { x: number; top: number; bottom: number } | null {
  if (!selection?.rangeCount) return null;
  const range = selection.getRangeAt(0);
  const start = edge(range, true);
  const end = edge(range, false);
  // Where the reader's finger or cursor is.
  const isBackward = selection.focusNode === range.startContainer && selection.focusOffset === range.startOffset;
  const focus = isBackward ? start : end;
  if (focus.bottom < 0 || focus.top > innerHeight) return null;
  return { x: isBackward ? focus.left : focus.right, top: start.top, bottom: end.bottom };
}

/** The rectangle of a selection's first or last character. The whole one may have thousands. */
function edge(range: Range, isStart: boolean): DOMRect {
  const one = range.cloneRange();
  const { startContainer, startOffset, endContainer, endOffset } = range;
  if (isStart && startContainer instanceof Text && startOffset < startContainer.length) {
    one.setEnd(startContainer, startOffset + 1);
  } else if (!isStart && endContainer instanceof Text && endOffset > 0) {
    one.setStart(endContainer, endOffset - 1);
  }
  return one.getBoundingClientRect();
}
