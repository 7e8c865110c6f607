// The weekly report as Markdown.

import { make } from "../dom.ts";
import { button, save, viewOfPeriod, type Route, type Session, type View } from "./parts.ts";

export function report(session: Session, route: Route): View {
  return viewOfPeriod(session, route, {
    usual: "7d",
    fetch: (since, signal) => session.client.text("admin/report", { since }, signal),
    show(markdown) {
      const download = () => save(new Blob([markdown], { type: "text/markdown" }), "report.md");
      return [
        make("p", { class: "actions" }, button("Download", download)),
        make("pre", { class: "report", tabindex: "0", role: "region", "aria-label": "Report as Markdown" }, markdown),
      ];
    },
  });
}
