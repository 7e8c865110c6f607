// What to write next: groups of questions without a good answer.

import { make } from "../dom.ts";
import { count, formatName, formatNumber, formatScore } from "./format.ts";
import {
  foreign,
  placeLink,
  time,
  viewAddress,
  viewOfPeriod,
  type Route,
  type Session,
  type View,
} from "./parts.ts";
import type { Gap, Gaps } from "./types.ts";

const REASONS: [string, string][] = [
  ["refused", "refused"],
  ["declined", "declined by the model"],
  ["unsupported", "answered with an unsupported sentence"],
  ["down", "voted not helpful"],
];

export function gaps(session: Session, route: Route): View {
  return viewOfPeriod<Gaps>(session, route, {
    fetch: (since, signal) => session.client.get("admin/gaps", { since }, signal),
    show({ gaps, total, ungrouped }, since) {
      session.say(count(total, "gap"));
      const later =
        ungrouped > 0 &&
        make("p", { class: "quiet" }, `Not embedded yet, so compared by words only: ${count(ungrouped, "question")}.`);
      if (!gaps.length) return [make("p", {}, "No gaps in this period.")];
      const list = make("ol", { class: "gaps" });
      for (const each of gaps) list.append(make("li", {}, gap(each, since)));
      const left = total - gaps.length;
      return [
        make("p", { class: "quiet" }, "Questions without a good answer, grouped by meaning, most needed first."),
        list,
        left > 0 && make("p", { class: "quiet" }, `And ${count(left, "more gap")}.`),
        later,
      ];
    },
  });
}

function gap(found: Gap, since: string): HTMLElement {
  const { nearest, recent, before } = found;
  const outcomes = REASONS.filter(([name]) => found.outcomes[name]).map(
    ([name, text]) => `${formatNumber(found.outcomes[name]!)} ${text}`,
  );
  const languages = found.languages.map(({ language, questions }) => `${formatName(language)} ${formatNumber(questions)}`);
  const trend = recent > before ? "rising" : recent < before ? "falling" : "steady";
  const own = viewAddress("questions", { since, ids: found.ids.join(",") });
  return make(
    "article",
    {},
    make("h2", {}, foreign(found.question, "clipped")),
    make(
      "p",
      { class: "meta" },
      make("strong", {}, `${count(found.questions, "question")} in ${count(found.conversations, "conversation")}`),
      found.questions > 1 && make("span", { class: trend }, `${formatNumber(before)} in the first half of the period, ${formatNumber(recent)} in the second: ${trend}`),
      make("span", {}, outcomes.join(", ")),
      make("span", {}, languages.join(", ")),
      make("span", {}, "Last asked ", time(found.last_asked)),
    ),
    nearest && make("p", {}, "Nearest page: ", placeLink(nearest), ` (score ${formatScore(nearest.score)})`),
    found.examples.length > 0 && wordings(found.examples),
    make("p", {}, make("a", { href: own }, "Show the questions")),
  );
}

function wordings(all: string[]): HTMLElement {
  const list = make("ul");
  for (const each of all) list.append(make("li", {}, foreign(each, "clipped")));
  return make("details", {}, make("summary", {}, "Examples"), list);
}
