// The interface in the page's language. Each language but English is a file of its own.

import english, { type Strings } from "./locales/en.ts";

const LOADERS: Record<string, () => Promise<{ default: Strings }>> = {
  // Added with each file in locales/: de: () => import("./locales/de.ts"),
};

/** The language of the interface: the author's choice, else the page's, else the reader's. */
export function chooseLanguage(wanted: string | null): string {
  const candidates = [wanted, document.documentElement.lang, ...navigator.languages];
  for (const candidate of candidates) {
    const code = candidate?.toLowerCase().split(/[-_]/)[0];
    if (code && (code === "en" || code in LOADERS)) return code;
  }
  return "en";
}

/** The strings of a language; English if its file cannot be loaded. */
export async function loadStrings(language: string): Promise<Strings> {
  try {
    return (await LOADERS[language]?.())?.default ?? english;
  } catch {
    return english;
  }
}

/** `fill("Ask {title}", { title: "Quire" })` */
export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}
