// Pages most and least cited, and headings never cited.

import { make } from "../dom.ts";
import { count, formatNumber } from "./format.ts";
import {
  bookLink,
  foreign,
  placeLink,
  section,
  viewAddress,
  viewOfPeriod,
  type Route,
  type Session,
  type View,
} from "./parts.ts";
import type { CitedPage, Pages } from "./types.ts";

/** Rows of each list that the server sends, at most. */
const MOST = "200";

export function pages(session: Session, route: Route): View {
  return viewOfPeriod<Pages>(session, route, {
    fetch: (since, signal, query) =>
      session.client.get("admin/pages", { since, limit: query.get("limit") ?? "" }, signal),
    show({ most, least, never }, since) {
      const pagesOrNone = (caption: string, found: CitedPage[]) =>
        found.length ? table(caption, found, since) : make("p", {}, "No page was cited.");
      return [
        section("Most cited", pagesOrNone("Pages most cited", most)),
        section("Least cited", pagesOrNone("Pages least cited", least)),
        section("Headings never cited", neverCited(never, since)),
      ];
    },
  });
}

function table(caption: string, pages: CitedPage[], since: string): HTMLElement {
  const head = make("tr");
  for (const name of ["Page", "Citations", "Questions"]) head.append(make("th", { scope: "col" }, name));
  const body = make("tbody");
  for (const { file_path, title, url, citations, questions } of pages) {
    const asked = questions
      ? make("a", { href: viewAddress("questions", { since, path: file_path }) }, formatNumber(questions))
      : "0";
    body.append(
      make(
        "tr",
        {},
        make("th", { scope: "row" }, bookLink(title || file_path, url), foreign(file_path, "meta")),
        make("td", {}, formatNumber(citations)),
        make("td", {}, asked),
      ),
    );
  }
  return make("table", { class: "wide" }, make("caption", { class: "unseen" }, caption), make("thead", {}, head), body);
}

function neverCited({ total, headings }: Pages["never"], since: string): HTMLElement {
  if (!total) return make("p", {}, "Every heading was cited.");
  const described = make("div", {}, make("p", { class: "quiet" }, count(total, "heading")));
  const byPage = Map.groupBy(headings, ({ file_path }) => file_path);
  for (const found of byPage.values()) {
    const list = make("ul");
    for (const each of found) list.append(make("li", {}, placeLink(each)));
    const { page, file_path } = found[0]!;
    const summary = make("summary", {}, foreign(page || file_path), ` (${formatNumber(found.length)})`);
    described.append(make("details", {}, summary, list));
  }
  const left = total - headings.length;
  if (left > 0) {
    const more = make("a", { href: viewAddress("pages", { since, limit: MOST }) }, `Show up to ${MOST}`);
    const text = `And ${count(left, "more heading")}. `;
    described.append(make("p", { class: "quiet" }, text, headings.length < Number(MOST) && more));
  }
  return described;
}
