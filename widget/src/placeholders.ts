// Stands for modules that are being written.
import type { Selection } from "./types.ts";

export function watchSelection(_: HTMLElement, __: unknown, ___: (selection: Selection) => void): () => void {
  return () => {};
}
