// Dark or light, as the page is.

export const html = document.documentElement;

/** A value of `color-scheme`. `wanted`: dark or light; anything else follows the page. */
export function colorScheme(wanted: string | undefined): string {
  // Docusaurus, Starlight; Furo; Material; VitePress, mdBook; PaperMod.
  const { dataset, className } = document.body;
  const names = [wanted, html.dataset.theme, dataset.theme, dataset.mdColorScheme, html.className, className];
  const found = /(^| )((dark|slate|coal|navy|ayu)|light|default|rust)( |$)/.exec(names.join(" "));
  if (found?.[3]) return "dark";
  // VitePress has a class for dark only. Other pages may follow the system.
  return found || document.querySelector("[content^=VitePress]") ? "light" : "light dark";
}

/** Call now, and whenever the page's theme may have changed. */
export function watchTheme(changed: () => void): void {
  changed();
  const observer = new MutationObserver(changed);
  for (const element of [html, document.body]) observer.observe(element, { attributes: true });
}
