// Dark or light, as the page is.

export const html = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

/** `wanted`: dark or light; anything else follows the page, and then the system. */
export function isDark(wanted: string | undefined): boolean {
  // Docusaurus, Starlight; Material; VitePress, mdBook.
  const names = [wanted, html.dataset.theme, document.body.dataset.mdColorScheme, html.className];
  const found = /(?:^| )(?:(dark|slate|coal|navy|ayu)|light|default|rust)(?: |$)/.exec(names.join(" "));
  if (found) return !!found[1];
  // VitePress has a class for dark only.
  return system.matches && !document.querySelector("meta[content^=VitePress]");
}

/** Call now, and whenever the page's theme may have changed. */
export function watchTheme(changed: () => void): void {
  changed();
  const observer = new MutationObserver(changed);
  for (const element of [html, document.body]) observer.observe(element, { attributes: true });
  system.onchange = changed;
}
