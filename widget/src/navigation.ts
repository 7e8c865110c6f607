// Opens addresses of the book: without a reload where the site's router allows it.

import { safeAddress } from "./addresses.ts";
import { make } from "./dom.ts";
import {
  decode,
  elementOf,
  forgetArrival,
  keepForArrival,
  pageOf,
  showPlace,
  whenReady,
} from "./highlight.ts";
import type { BookConfig, Context } from "./types.ts";

const DIRECTIVE = ":~:";
const RENDER_MILLISECONDS = 10_000;

/**
 * A safe address; null if there is none.
 *
 * An address that begins with `local_pages` is a page of `host`. Other relative ones belong to
 * this page.
 */
export function resolveAddress(
  url: string | null,
  { host, local_pages }: Pick<Context, "host"> & Pick<BookConfig, "local_pages">,
): string | null {
  return safeAddress(url, local_pages && url?.startsWith(local_pages) ? host : location.href);
}

/** Open an address that `resolveAddress` has made. `excerpt`: text to find and mark there. */
export async function openAddress(url: string, excerpt = ""): Promise<void> {
  const address = new URL(url, location.href);
  if (address.origin !== location.origin) {
    window.open(address.href, "_blank", "noopener");
    return;
  }
  const [fragment = "", directive = ""] = address.hash.slice(1).split(DIRECTIVE);
  const place = { id: decode(fragment), directive, excerpt };
  // Routers take a directive for a part of the id.
  address.hash = fragment;
  if (isHere(address)) {
    // The same page may have several addresses, and another one would load it again.
    address.pathname = location.pathname;
    // Material loads the page again for its first link, even for one to the same page.
    if (document.querySelector("[data-md-component]")) history.pushState(null, "", address);
    else if (!clickLink(address)) location.hash = fragment;
    return showPlace(place);
  }
  keepForArrival(address, place);
  const isRendered = watchPage(place.id);
  if (!visit(address)) return location.assign(url);
  if (!(await whenReady(isRendered, RENDER_MILLISECONDS)) || !isHere(address)) return;
  if (isMissing()) return location.reload();
  forgetArrival();
  return showPlace(place);
}

const isHere = (address: URL) => pageOf(address) === pageOf(location);

/** Go to another page of this document's router. False if it has none for the address. */
function visit(address: URL): boolean {
  const base = (window as any).__VP_SITE_DATA__?.base;
  // VitePress takes every link, also to what is not of its site.
  if (typeof base === "string" && !address.pathname.startsWith(base)) return false;
  if (clickLink(address)) return true;
  if (!isDocusaurus()) return false;
  // React Router has no listener for links. It follows the history.
  history.pushState({ key: Math.random().toString(36).slice(2, 8) }, "", address);
  dispatchEvent(new PopStateEvent("popstate", { state: history.state }));
  return true;
}

const isDocusaurus = () => !!document.getElementById("__docusaurus");

/** Whether the router had no such page, although the server may have one. */
function isMissing(): boolean {
  const found = document.querySelector("#__docusaurus article, #app .VPContent:not(:has(.NotFound))");
  return !found && (isDocusaurus() || !!document.querySelector(".VPContent"));
}

/**
 * Click a link in the document. True if a router took the click.
 *
 * Routers listen at the document or the window. They do not see links in a shadow root.
 */
function clickLink({ href }: URL): boolean {
  const link = make("a", { href, hidden: true });
  let isFree = false;
  const last = (event: Event) => {
    isFree = !event.defaultPrevented;
    event.preventDefault();
  };
  // Turbo, too, adds its listener at the start of a click, to be the last.
  const first = () => addEventListener("click", last, { once: true });
  addEventListener("click", first, { capture: true, once: true });
  document.body.append(link);
  const click = new MouseEvent("click", { bubbles: true, cancelable: true, composed: true, view: window });
  const isTaken = !link.dispatchEvent(click) && !isFree;
  removeEventListener("click", last);
  link.remove();
  return isTaken;
}

/** Tells when another page has replaced this one. */
function watchPage(id: string): () => boolean {
  const title = () => document.querySelector("main h1, article h1, h1");
  const oldTitle = title();
  const oldText = oldTitle?.textContent;
  const oldTarget = elementOf(id);
  return () => {
    const target = elementOf(id);
    if (target && target !== oldTarget) return true;
    return title() !== oldTitle || title()?.textContent !== oldText;
  };
}
