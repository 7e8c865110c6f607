// Shared by several views. Readers' text is always a text node in an element with isolated direction.

import { make } from "../dom.ts";
import { Failure, type Client, type Query } from "./client.ts";
import { formatTime } from "./format.ts";
import type { Log, Place, Status } from "./types.ts";

export interface Route {
  /** "questions" */
  view: string;
  /** "conversation/x" has the id "x". */
  id: string;
  query: URLSearchParams;
}

/** What a view needs while its author is signed in. */
export interface Session {
  client: Client;
  status: Status;
  /** Searched words. They may be personal, so they are not part of the address. */
  search: string;
  /** Announce to screen readers. */
  say(text: string): void;
}

export interface View {
  element: HTMLElement;
  /** The same view with another query. */
  update?(route: Route): void;
  /** Called when the view is left. */
  leave?(): void;
}

export const OUTCOMES: Record<string, string> = {
  answered: "Answered",
  refused: "Refused",
  declined: "Declined",
  failed: "Failed",
  left: "Reader left",
  small_talk: "Small talk",
};

/** Text of a reader, or of the book. */
export function foreign(text: string, kind = ""): HTMLElement {
  return make("bdi", { dir: "auto", class: `foreign ${kind}`.trim() }, text);
}

export function time(iso: string): HTMLElement {
  const [local, utc] = formatTime(iso);
  return make("time", { datetime: iso, title: utc }, local);
}

/** A link to the book; plain text unless the address is http or https. */
export function bookLink(text: string, url: string | null): HTMLElement {
  const address = url ? webAddress(url) : "";
  if (!address) return foreign(text);
  // In a tab of its own: this one would forget the key.
  const link = make("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow", class: "outward" });
  link.append(foreign(text), make("span", { class: "unseen" }, " (new tab)"));
  return link;
}

function webAddress(url: string): string {
  try {
    // A path is that of Quire's own page of the book. Quire may be served under a path itself.
    const { href, protocol } = new URL(url.replace(/^\/(?!\/)/, "./"), document.baseURI);
    return /^https?:$/.test(protocol) ? href : "";
  } catch {
    return "";
  }
}

export function placeLink({ file_path, heading, url }: Place): HTMLElement {
  return bookLink(heading || file_path, url);
}

/** The address of a view. */
export function viewAddress(view: string, query: Query | URLSearchParams = {}): string {
  const given = new URLSearchParams(query);
  for (const [name, value] of [...given]) if (!value) given.delete(name);
  return `#${view}${given.size ? `?${given}` : ""}`;
}

export function button(text: string, onclick: (event: Event) => void, attributes = {}): HTMLButtonElement {
  return make("button", { type: "button", onclick, ...attributes }, text);
}

export function notice(...children: (Node | string)[]): HTMLElement {
  return make("div", { class: "notice" }, ...children);
}

export function section(title: string, ...children: Children): HTMLElement {
  return make("section", {}, make("h2", {}, title), ...children);
}

/** A list of terms with their descriptions, without those that are empty. */
export function facts(rows: [string, Node | string | null][], kind = ""): HTMLElement {
  const list = make("dl", { class: `facts ${kind}`.trim() });
  for (const [term, value] of rows) {
    if (value !== null && value !== "") list.append(make("div", {}, make("dt", {}, term), make("dd", {}, value)));
  }
  return list;
}

/** A drop-down list. `options`: [value, text]. */
export function choice(
  label: string,
  options: [string, string][],
  value: string,
  onchange: (value: string) => void,
  name = "",
): HTMLElement {
  const select = make("select", { name, onchange: () => onchange(select.value) });
  for (const [each, text] of options) select.append(make("option", { value: each }, text));
  select.value = value;
  return make("label", { class: "field" }, make("span", {}, label), select);
}

const PERIODS: [number, string, string][] = [
  [1, "24h", "24 hours"],
  [7, "7d", "7 days"],
  [30, "30d", "30 days"],
  [90, "90d", "90 days"],
  [365, "365d", "A year"],
];

/** Periods that the log covers, longest last. */
export function periods({ days }: Log, longest = Infinity): [string, string][] {
  const within = PERIODS.filter(([each]) => each <= Math.min(days, longest));
  const options = within.map(([, value, text]): [string, string] => [value, text]);
  if (days < longest && within.at(-1)?.[0] !== days) options.push([`${days}d`, `All (${days} days)`]);
  return options;
}

/** The period in the address; without one `usual`, or all of a shorter log. */
export function period(route: Route, options: [string, string][], usual = "30d"): string {
  const wanted = route.query.get("since") ?? usual;
  return options.some(([value]) => value === wanted) ? wanted : options.at(-1)?.[0] ?? usual;
}

interface OfPeriod<T> {
  usual?: string;
  /** Days. */
  longest?: number;
  fetch(since: string, signal: AbortSignal, query: URLSearchParams): Promise<T>;
  show(data: T, since: string): Children;
}

/** A view of a period that its author chooses. */
export function viewOfPeriod<T>(session: Session, route: Route, wanted: OfPeriod<T>): Required<View> {
  const options = periods(session.status.log, wanted.longest);
  let { query } = route;
  let since = period(route, options, wanted.usual);
  const select = choice("Period", options, since, (value) => {
    location.hash = viewAddress(route.view, { since: value });
  });
  select.classList.add("period");
  const content = loaded(
    session,
    (signal) => wanted.fetch(since, signal, query),
    (data) => wanted.show(data, since),
  );
  content.load();
  return {
    element: make("div", {}, select, content.element),
    update(next) {
      query = next.query;
      since = period(next, options, wanted.usual);
      select.querySelector("select")!.value = since;
      content.load();
    },
    leave: content.stop,
  };
}

type Children = (Node | string | null | false)[];

interface Loaded {
  element: HTMLElement;
  /** Load again. */
  load(): Promise<void>;
  stop(): void;
}

/** A region that loads its content. On failure, it shows the error and a button to retry. `show` may announce more. */
export function loaded<T>(
  session: Session,
  fetch: (signal: AbortSignal) => Promise<T>,
  show: (data: T) => Children,
): Loaded {
  const element = make("div", { class: "loaded" });
  let running = new AbortController();
  const load = async () => {
    running.abort();
    const { signal } = (running = new AbortController());
    element.setAttribute("aria-busy", "true");
    if (!element.firstChild) element.append(make("p", { class: "quiet" }, "Loading …"));
    session.say("Loading");
    try {
      const data = await fetch(signal);
      if (signal.aborted) return;
      session.say("Loaded");
      element.replaceChildren(...show(data).filter((each) => each !== null && each !== false));
      element.removeAttribute("aria-busy");
    } catch (error) {
      if (signal.aborted) return;
      element.removeAttribute("aria-busy");
      element.replaceChildren(problem(session, error, load));
    }
  };
  return { element, load, stop: () => running.abort() };
}

/** An error's sentence, with a button to try again. Errors of this page's own code are not hidden. */
export function problem(session: Session, error: unknown, again?: () => void): HTMLElement {
  if (!(error instanceof Failure)) throw error;
  session.say(error.message);
  return notice(make("p", {}, error.message), again ? button("Try again", again) : "");
}

/** `attempt` runs an action; `failed` shows its error until the next one. */
export function attempts(session: Session) {
  const failed = make("div");
  const attempt = async (action: () => Promise<void>) => {
    failed.replaceChildren();
    try {
      await action();
    } catch (error) {
      failed.replaceChildren(problem(session, error));
    }
  };
  return { failed, attempt };
}

/** Fetch a file with the key, and hand it to the browser as a download. */
export async function download(session: Session, path: string, query: Query, name: string): Promise<void> {
  save(await session.client.blob(path, query), name);
  session.say("Downloaded");
}

export function save(content: Blob, name: string): void {
  const address = URL.createObjectURL(content);
  make("a", { href: address, download: name }).click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Ask before something that cannot be undone. */
export function confirmed(question: string, explanation: string, action: string): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (yes: boolean) => {
      dialog.close();
      dialog.remove();
      resolve(yes);
    };
    const dialog = make(
      "dialog",
      { "aria-labelledby": "confirm", oncancel: () => end(false) },
      make("h2", { id: "confirm" }, question),
      make("p", {}, explanation),
      make(
        "p",
        { class: "actions" },
        button("Cancel", () => end(false)),
        button(action, () => end(true), { class: "danger" }),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shown instead of a view that needs the log. */
export function withoutLog({ hint }: Log): View {
  return { element: notice(make("p", {}, "There is no question log. ", hint)) };
}
