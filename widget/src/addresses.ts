// Which addresses of an answer may become links.

/** Characters that browsers drop from addresses or that hide what follows. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Zs}]/u;
const MAX_LENGTH = 4_000;

/**
 * An address of a text as the browser reads it, if it is safe: http, https or mailto, or relative to
 * `base` on the same host. Null otherwise.
 */
export function safeAddress(written: unknown, base = document.baseURI): string | null {
  if (typeof written !== "string" || !written || written.length > MAX_LENGTH || HIDDEN.test(written)) return null;
  // `//other.example` and its disguises with backslashes look relative, but leave the host.
  if (/^[/\\]{2}/.test(written)) return null;
  const absolute = parse(written);
  const url = absolute ?? parse(written, base);
  if (!url || url.username || url.password) return null;
  if (url.protocol === "mailto:") return absolute && url.href;
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  // `https:other` is relative on an https page, and absolute elsewhere.
  if (absolute && !/^https?:\/\//i.test(written)) return null;
  if (!absolute && url.origin !== parse(base)?.origin) return null;
  return url.href;
}

function parse(address: string, base?: string): URL | null {
  try {
    return new URL(address, base);
  } catch {
    return null;
  }
}

/**
 * The address of a citation with the text fragment of the marker's address, which highlights the
 * sentence, if both lead to the same place.
 */
export function withHighlight(address: string, marked: string | null): string {
  const [place, directive] = split(marked ? (safeAddress(marked) ?? "") : "");
  if (!directive.startsWith("text=") || place !== split(address)[0]) return address;
  const plain = address.split(":~:")[0]!;
  return `${plain}${plain.includes("#") ? "" : "#"}:~:${directive}`;
}

/** An address without its fragment directive, comparable, and the directive. */
function split(address: string): [string, string] {
  const [place = "", directive = ""] = address.split(":~:");
  try {
    return [decodeURIComponent(place).replace(/#$/, ""), directive];
  } catch {
    return [place, directive];
  }
}
