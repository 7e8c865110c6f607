// The interface in the page's language. Each language but English is a file of its own.

import english, { type Strings } from "./locales/en.ts";

const LOADERS: Record<string, () => Promise<{ default: Strings }>> = {
  ar: () => import("./locales/ar.ts"),
  de: () => import("./locales/de.ts"),
  es: () => import("./locales/es.ts"),
  fr: () => import("./locales/fr.ts"),
  hi: () => import("./locales/hi.ts"),
  ja: () => import("./locales/ja.ts"),
  pt: () => import("./locales/pt.ts"),
  ur: () => import("./locales/ur.ts"),
  zh: () => import("./locales/zh.ts"),
};

const LONGEST_WAIT = 5_000;

/** The strings of a language; English if its file cannot be loaded, or not within five seconds. */
export async function loadStrings(language: string): Promise<Strings> {
  const late = new Promise<undefined>((resolve) => setTimeout(resolve, LONGEST_WAIT));
  try {
    return (await Promise.race([LOADERS[language]?.(), late]))?.default ?? english;
  } catch {
    return english;
  }
}

/** `fill("Ask {title}", { title: "Quire" })` */
export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}
