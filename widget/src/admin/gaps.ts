// What to write next: groups of questions without a good answer.

import { make } from "../dom.ts";
import { count, formatName, formatNumber, formatScore } from "./format.ts";
import {
  facts,
  foreign,
  placeLink,
  time,
  viewAddress,
  viewOfPeriod,
  type Route,
  type Session,
  type View,
} from "./parts.ts";
import type { Gap } from "./types.ts";

const REASONS: [string, string][] = [
  ["refused", "refused"],
  ["declined", "declined by the model"],
  ["unsupported", "not supported by the book"],
  ["down", "voted not helpful"],
];

export function gaps(session: Session, route: Route): View {
  return viewOfPeriod<{ gaps: Gap[] }>(session, route, {
    view: "gaps",
    title: "What to write next",
    fetch: (since, signal) => session.client.get("admin/gaps", { since }, signal),
    show({ gaps }, since) {
      session.say(count(gaps.length, "gap"));
      if (!gaps.length) return [make("p", {}, "Every question in this period got a good answer.")];
      const list = make("ol", { class: "gaps" });
      for (const each of gaps) list.append(make("li", {}, gap(each, since)));
      return [make("p", { class: "quiet" }, "Questions without a good answer by subject, most needed first."), list];
    },
  });
}

function gap(found: Gap, since: string): HTMLElement {
  const { nearest } = found;
  const outcomes = REASONS.filter(([name]) => found.outcomes[name]).map(
    ([name, text]) => `${formatNumber(found.outcomes[name]!)} ${text}`,
  );
  const languages = found.languages.map(({ language, questions }) => `${formatName(language)} ${formatNumber(questions)}`);
  const near = nearest && make("span", {}, placeLink(nearest), ` (score ${formatScore(nearest.score)})`);
  const trend = found.recent > found.before ? "more" : found.recent < found.before ? "fewer" : "as many";
  return make(
    "article",
    {},
    make("h2", {}, foreign(found.question, "clipped")),
    facts([
      ["Asked", `${count(found.questions, "time")} in ${count(found.conversations, "conversation")}`],
      ["Trend", `${formatNumber(found.recent)} lately, ${formatNumber(found.before)} before: ${trend}`],
      ["Why", outcomes.join(", ")],
      ["Languages", languages.join(", ")],
      ["Nearest page", near],
      ["Last asked", time(found.last_asked)],
    ]),
    wordings([...new Set([found.question, ...found.examples])]),
    make("p", {}, make("a", { href: viewAddress("questions", { since, ids: found.ids.join(",") }) }, "Its questions")),
  );
}

function wordings(all: string[]): HTMLElement {
  const list = make("ul");
  for (const each of all) list.append(make("li", {}, foreign(each)));
  return make("details", {}, make("summary", {}, "In these words"), list);
}
