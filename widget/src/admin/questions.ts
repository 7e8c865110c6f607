// The list of questions with filters, and one conversation.

import { make } from "../dom.ts";
import { formatName, formatNumber, formatScore, formatSeconds, formatUsd, count } from "./format.ts";
import {
  OUTCOMES,
  attempts,
  button,
  choice,
  confirmed,
  download,
  facts,
  foreign,
  loaded,
  period,
  periods,
  placeLink,
  time,
  viewAddress,
  type Route,
  type Session,
  type View,
} from "./parts.ts";
import type { Query } from "./client.ts";
import type { Activity, Row, Rows } from "./types.ts";

type Options = [string, string][];

const VOTES: Record<string, string> = { up: "Helpful", down: "Not helpful" };

const MEANINGS: Record<string, string> = {
  answered: "Answered",
  refused: "Refused: no passage seemed to answer, so the model was not asked",
  declined: "Declined: the model found no answer in the passages",
  failed: "Failed",
  left: "The reader left before the end of the answer",
  small_talk: "Small talk",
};

/** Filters that are part of the address. The searched words are not. */
const FILTERS = ["outcome", "unanswered", "vote", "language", "interface", "path", "ids"];

export function questions(session: Session, route: Route): View {
  const options = periods(session.status.log);
  let current = route;
  const query = (): Query => {
    const wanted: Query = { since: period(current, options), q: session.search };
    for (const name of FILTERS) wanted[name] = current.query.get(name) ?? "";
    return wanted;
  };
  const list = make("ol", { class: "questions" });
  const more = make("p");
  const append = ({ questions, next }: Rows) => {
    const { failed, attempt } = attempts(session);
    const items = questions.map((row) => item(session, row));
    list.append(...items);
    const load = async () => {
      const rows = await session.client.get<Rows>("admin/questions", { ...query(), before: String(next) });
      append(rows)?.querySelector("summary")?.focus();
      session.say(count(rows.questions.length, "more question"));
    };
    more.replaceChildren(next === null ? "" : button("Load more", () => attempt(load)), failed);
    return items[0];
  };
  const results = loaded(
    session,
    (signal) => session.client.get<Rows>("admin/questions", query(), signal),
    (rows) => {
      list.replaceChildren();
      append(rows);
      session.say(count(rows.total, "question"));
      if (!rows.total) return [make("p", {}, "No question matches.")];
      return [make("p", { class: "quiet" }, count(rows.total, "question")), list, more];
    },
  );
  const form = filterForm(session, () => current, options, results.load);
  results.load();
  return {
    element: make("div", {}, form.element, exportButtons(session, query), results.element),
    update(next) {
      current = next;
      form.update();
      results.load();
    },
    leave() {
      form.leave();
      results.stop();
    },
  };
}

/** The form is there before the names of languages and interfaces, which are read from the log. */
function filterForm(session: Session, route: () => Route, options: Options, search: () => void) {
  const set = (changes: Query) => {
    const query = new URLSearchParams(route().query);
    for (const [name, value] of Object.entries(changes)) query.set(name, value);
    location.hash = viewAddress("questions", query);
  };
  const filter = (name: string, label: string, values: Options) =>
    choice(label, [["", "Any"], ...values], "", (value) => set({ [name]: value }), name);
  const words = make("input", { type: "search", maxlength: "200", autocomplete: "off", value: session.search });
  const path = make("input", {
    type: "text",
    name: "path",
    autocomplete: "off",
    spellcheck: "false",
    onchange: () => set({ path: path.value.trim() }),
  });
  const languages = filter("language", "Language", []);
  const interfaces = filter("interface", "Interface", []);
  const group = make("p", { class: "quiet all" });
  const element = make(
    "form",
    {
      class: "filters",
      role: "search",
      "aria-label": "Filter the questions",
      onsubmit(event: Event) {
        event.preventDefault();
        session.search = words.value.trim();
        search();
      },
    },
    choice("Period", options, period(route(), options), (since) => set({ since }), "since"),
    choice(
      "Outcome",
      [["", "Any"], ["unanswered", "Unanswered"], ...Object.entries(OUTCOMES)],
      "",
      (outcome) => set(outcome === "unanswered" ? { outcome: "", unanswered: "true" } : { outcome, unanswered: "" }),
      "outcome",
    ),
    filter("vote", "Vote", Object.entries(VOTES)),
    languages,
    interfaces,
    make("label", { class: "field" }, make("span", {}, "Cited page"), path),
    make("label", { class: "field wide" }, make("span", {}, "Words in the question or note"), words),
    make("button", { type: "submit" }, "Search"),
    button("Clear", () => {
      session.search = words.value = "";
      const all = viewAddress("questions");
      if (location.hash === all) search();
      else location.hash = all;
    }),
    group,
  );
  const update = () => {
    const { query } = route();
    const wanted = Object.fromEntries(query);
    wanted.since = period(route(), options);
    if (query.get("unanswered")) wanted.outcome = "unanswered";
    for (const each of element.elements) {
      if (!(each instanceof HTMLSelectElement)) continue;
      const value = wanted[each.name] ?? "";
      each.value = value;
      if (each.selectedIndex < 0) each.append(make("option", { value, selected: true }, nameOf(value)));
    }
    path.value = wanted.path ?? "";
    group.textContent = wanted.ids ? "Only the questions of one gap. “Clear” shows all." : "";
    group.hidden = !wanted.ids;
  };
  update();
  const asked = new AbortController();
  const since = options.at(-1)![0];
  session.client.get<Activity>("admin/activity", { since }, asked.signal).then(
    (activity) => {
      addOptions(languages, activity.languages.map(({ language }) => language));
      addOptions(interfaces, activity.interfaces.map((each) => each.interface));
    },
    () => {}, // the list of questions fails for the same reason, and says so
  );
  return { element, update, leave: () => asked.abort() };
}

function addOptions(label: HTMLElement, values: string[]): void {
  const select = label.querySelector("select")!;
  const known = new Set([...select.options].map(({ value }) => value));
  for (const value of values) if (!known.has(value)) select.append(make("option", { value }, nameOf(value)));
}

/** Of a language or a route. */
const nameOf = (value: string) => (value.startsWith("/") ? value : formatName(value));

function exportButtons(session: Session, query: () => Query): HTMLElement {
  const { failed, attempt } = attempts(session);
  const save = (format: string) => () =>
    attempt(() => download(session, "admin/export", { ...query(), format }, `questions.${format}`));
  return make(
    "div",
    {},
    make(
      "p",
      { class: "actions" },
      button("Download as CSV", save("csv")),
      button("Download as JSON Lines", save("jsonl")),
    ),
    failed,
  );
}

export function conversation(session: Session, route: Route): View {
  const results = loaded(
    session,
    (signal) => session.client.get<Rows>(`admin/conversations/${encodeURIComponent(route.id)}`, {}, signal),
    ({ questions }) => {
      const list = make("ol", { class: "questions" });
      list.append(...questions.map((row) => item(session, row, true)));
      session.say(count(questions.length, "question"));
      return [list];
    },
  );
  results.load();
  return {
    element: make(
      "div",
      {},
      make("p", {}, make("a", { href: viewAddress("questions") }, "All questions")),
      results.element,
    ),
    leave: results.stop,
  };
}

/** A question that opens to its details. */
function item(session: Session, row: Row, inConversation = false): HTMLElement {
  const { outcome, vote } = row;
  const details = make(
    "details",
    { class: "question", ontoggle: () => body.firstChild || body.append(describe()) },
    make(
      "summary",
      {},
      foreign(row.question, "clipped"),
      make(
        "span",
        { class: "meta" },
        make("span", { class: `outcome ${outcome}` }, OUTCOMES[outcome] ?? outcome),
        time(row.asked_at),
        make("span", {}, formatName(row.language)),
        vote && make("span", { class: `vote ${vote}` }, VOTES[vote] ?? vote),
        row.note && make("span", {}, "With a note"),
      ),
    ),
  );
  const body = make("div", { class: "detail" });
  details.append(body);
  const element = make("li", {}, details);
  const describe = () => description(session, row, element, inConversation);
  return element;
}

function description(session: Session, row: Row, element: HTMLElement, inConversation: boolean): HTMLElement {
  const checked = [
    row.supported && `${formatNumber(row.supported)} supported`,
    row.unsupported && `${formatNumber(row.unsupported)} not supported`,
    row.unknown && `${formatNumber(row.unknown)} unknown`,
  ].filter(Boolean);
  const tokens = [
    row.prompt_tokens && `${formatNumber(row.prompt_tokens)} prompt`,
    row.completion_tokens && `${formatNumber(row.completion_tokens)} completion`,
    row.embedding_tokens && `${formatNumber(row.embedding_tokens)} embedding`,
    row.cost_usd && formatUsd(row.cost_usd),
  ].filter(Boolean);
  return make(
    "div",
    {},
    facts([
      ["Outcome", (MEANINGS[row.outcome] ?? row.outcome) + (row.code && ` (${row.code})`)],
      ["Answer", row.mode === "none" ? null : formatName(row.mode) + (row.fallback && ` (${row.fallback})`)],
      ["Reason", row.reason && formatName(row.reason)],
      ["Note", row.note && foreign(row.note)],
      ["Interface", row.interface],
      ["Sentences", checked.join(", ")],
      ["First token", row.first_seconds === null ? null : `after ${formatSeconds(row.first_seconds)}`],
      ["Complete answer", `after ${formatSeconds(row.total_seconds)}`],
      ["Tokens", tokens.join(", ")],
    ]),
    passages(row),
    actions(session, row, element, inConversation),
  );
}

function passages({ passages }: Row): HTMLElement {
  if (!passages.length) return make("p", { class: "quiet" }, "No passage.");
  const list = make("ol", { class: "passages" });
  for (const each of passages) {
    const score = make("span", {}, `Score ${formatScore(each.score)}`);
    const cited = make("span", {}, each.cited ? "Cited" : "Not cited");
    list.append(make("li", {}, placeLink(each), make("span", { class: "meta" }, cited, score, foreign(each.file_path))));
  }
  return make("div", {}, make("h2", {}, "Passages"), list);
}

function actions(session: Session, row: Row, element: HTMLElement, inConversation: boolean): HTMLElement {
  const { failed, attempt } = attempts(session);
  const golden = () => download(session, `admin/questions/${row.id}/golden`, {}, `golden-${row.id}.jsonl`);
  const remove = async () => {
    const lost = "The question, its vote and its note are deleted from the log. This cannot be undone.";
    if (!(await confirmed("Delete this question?", lost, "Delete"))) return;
    await session.client.delete(`admin/questions/${row.id}`);
    const next = (element.nextElementSibling ?? element.previousElementSibling)?.querySelector("summary");
    element.remove();
    (next ?? document.querySelector("h1"))?.focus();
    session.say("Deleted");
  };
  return make(
    "div",
    {},
    make(
      "p",
      { class: "actions" },
      !inConversation && make("a", { href: `#conversation/${encodeURIComponent(row.conversation)}` }, "Conversation"),
      button("Download as golden question", () => attempt(golden)),
      button("Delete", () => attempt(remove), { class: "danger" }),
    ),
    failed,
  );
}
