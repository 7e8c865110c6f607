// What is shown of formulas and of escaped characters.

const MATHEMATICAL = /[\\^_={}<>+]|&lt;|^\s*(?:[A-Za-z]\w?|\d{1,2}[A-Za-z]|[A-Za-z]\(.+\))\s*$/;

/** Whether a text between dollars or brackets is TeX, and not prices or a list. */
export function isFormula(text: string): boolean {
  return MATHEMATICAL.test(text);
}

const NAMED: Record<string, string> = {
  lt: "<", gt: ">", amp: "&", quot: '"', apos: "'", nbsp: "\u00a0", hellip: "…", ndash: "–", mdash: "—",
  copy: "©", times: "×", bull: "•", rarr: "→",
};

/** Replace Markdown's backslash escapes and the entities of HTML that models write. */
export function unescape(text: string): string {
  return text.replace(
    /\\([!-/:-@[-`{-~])|&(?:#x([\da-f]{1,6})|#(\d{1,7})|([a-z][a-z\d]{1,31}));/gi,
    (whole, escaped, hex, decimal, name) => {
      if (escaped) return escaped;
      if (name) return Object.hasOwn(NAMED, name) ? NAMED[name]! : whole;
      const code = hex ? parseInt(hex, 16) : Number(decimal);
      return code && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : "\ufffd";
    },
  );
}
