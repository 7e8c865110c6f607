// Quire without a model, and with its usual rate limit.

import assert from "node:assert/strict";
import { test } from "node:test";
import { usePlainPage } from "./support/plain-page.mjs";
import { strings } from "./support/widget.mjs";

const used = usePlainPage({ scripted: false, env: { RATE_LIMIT_ENABLED: "true" } });

test("without a model the answer is a quotation with its source", async () => {
  const widget = await used.open();
  await widget.open();
  await widget.ask("How often do I wind the clock?");
  await widget.text("Wind the clock on the same day of every week.").waitFor();
  await widget.answered();
  await widget.link("1").first().waitFor();
});

test("what is not in the book is refused, with the nearest pages", async () => {
  const widget = await used.open();
  await widget.open();
  await widget.ask("Who won the football championship of 1974?");
  await widget.text("The book does not seem to answer this.").waitFor();
  await widget.answered();
  const links = await widget.element.getByRole("article").getByRole("link").all();
  const addresses = await Promise.all(links.map((link) => link.getAttribute("href")));
  assert.ok(addresses.length && addresses.every((each) => each.startsWith("http://page.example/")), addresses);
});

test("too many questions: the reader learns when to ask again", async () => {
  const widget = await used.open();
  await widget.open();
  const ask = () =>
    fetch(`http://127.0.0.1:${used.quire.port}/chat`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ question: "How?", stream: false }),
    });
  let response;
  do response = await ask();
  while (response.status === 200);
  assert.equal(response.status, 429);
  await widget.ask("How often do I wind the clock?");
  await widget.text(/\d+ seconds?/).waitFor();
  await widget.button(strings.retry).waitFor();
});
