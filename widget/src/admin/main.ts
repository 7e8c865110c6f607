// The author's page at /admin: signing in, navigation, and the view in the address.

import { make } from "../dom.ts";
import { Client, Failure } from "./client.ts";
import { gaps } from "./gaps.ts";
import { overview } from "./overview.ts";
import { pages } from "./pages.ts";
import { button, foreign, viewAddress, withoutLog, type Route, type Session, type View } from "./parts.ts";
import { conversation, questions } from "./questions.ts";
import { report } from "./report.ts";
import type { Status } from "./types.ts";

interface Entry {
  /** In the navigation; empty if it is not there. */
  name: string;
  title: string;
  open(session: Session, route: Route): View;
}

const VIEWS: Record<string, Entry> = {
  overview: { name: "Overview", title: "Overview", open: overview },
  questions: { name: "Questions", title: "Questions", open: questions },
  gaps: { name: "Gaps", title: "What to write next", open: gaps },
  pages: { name: "Pages", title: "Pages", open: pages },
  report: { name: "Report", title: "Report", open: report },
  conversation: { name: "", title: "Conversation", open: conversation },
};

const WHERE =
  "The value of ADMIN_API_KEY. If it is not set, the key is in the file admin.key in the index folder. " +
  "It is kept only in this tab: after a reload, enter it again.";

const status = make("p", { role: "status", class: "unseen" });
const page = make("div");
document.body.append(page, status);

let session: Session | null = null;
let shown: { route: Route; view: View } | null = null;

function readRoute(): Route {
  const [, path = "", query = ""] = /^#?([^?]*)\??(.*)/.exec(location.hash) ?? [];
  const [view = "", id = ""] = path.split("/");
  return { view: Object.hasOwn(VIEWS, view) ? view : "overview", id: decode(id), query: new URLSearchParams(query) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

function leave(): void {
  shown?.view.leave?.();
  shown = null;
}

function showSignIn(message = ""): void {
  leave();
  session = null;
  const key = make("input", {
    type: "password",
    id: "key",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    "aria-describedby": "where problem",
  });
  const problem = make("p", { id: "problem", role: "alert" }, message);
  const submit = make("button", { type: "submit" }, "Sign in");
  const onsubmit = async (event: Event) => {
    event.preventDefault();
    problem.textContent = "";
    if (!key.value) {
      problem.textContent = "Enter the admin key.";
      key.focus();
      return;
    }
    submit.disabled = true;
    try {
      await signIn(key.value.trim());
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      problem.textContent = error.message;
      key.select();
      key.focus();
    } finally {
      submit.disabled = false;
    }
  };
  page.replaceChildren(
    make(
      "main",
      { class: "sign-in" },
      make("h1", {}, "What readers ask"),
      make(
        "form",
        { onsubmit },
        make("label", { for: "key" }, "Admin key"),
        key,
        submit,
        problem,
        make("p", { id: "where", class: "quiet" }, WHERE),
      ),
    ),
  );
  document.title = "Sign in · Quire";
  key.focus();
}

async function signIn(key: string): Promise<void> {
  const client = new Client(key, (failure) => session && showSignIn(failure.message));
  const state = await client.get<Status>("admin/status");
  session = { client, status: state, search: "", say: (text) => (status.textContent = text) };
  const list = make("ul");
  for (const [view, { name }] of Object.entries(VIEWS)) {
    if (name) list.append(make("li", {}, make("a", { href: viewAddress(view) }, name)));
  }
  page.replaceChildren(
    make(
      "header",
      {},
      make("a", { class: "skip", href: "#", onclick: skip }, "Skip to content"),
      make("p", { class: "brand" }, foreign(state.index?.title || "Quire")),
      make("nav", { "aria-label": "Views" }, list),
      button("Sign out", () => showSignIn()),
    ),
    make("main"),
  );
  show();
}

/** The address names the view, so a link to the heading would open another one. */
function skip(event: Event): void {
  event.preventDefault();
  page.querySelector("h1")?.focus();
}

function show(): void {
  if (!session) return;
  const route = readRoute();
  if (shown?.view.update && shown.route.view === route.view && route.view !== "conversation") {
    shown.route = route;
    shown.view.update(route);
    return;
  }
  leave();
  const { title, open } = VIEWS[route.view]!;
  const needsLog = route.view !== "overview" && !session.status.log.enabled;
  const view = needsLog ? withoutLog(session.status.log) : open(session, route);
  shown = { route, view };
  for (const link of page.querySelectorAll("nav a")) {
    const isCurrent = link.getAttribute("href") === viewAddress(route.view);
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = make("h1", { tabindex: "-1" }, title);
  page.querySelector("main")!.replaceChildren(heading, view.element);
  document.title = `${title} · Quire`;
  heading.focus();
  scrollTo(0, 0);
}

addEventListener("hashchange", show);
showSignIn();
