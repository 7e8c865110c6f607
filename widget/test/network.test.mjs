// A host that sleeps, a connection that breaks, and servers that refuse.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PAGE, usePlainPage } from "./support/plain-page.mjs";
import { strings } from "./support/widget.mjs";

const STARTING = "<!doctype html><title>Starting</title><p>Your service is starting.";

const KEY = "the-admin-key";
const used = usePlainPage({ env: { QUESTION_LOG: "1d", ADMIN_API_KEY: KEY } });

test("a host that holds requests while it starts is shown as waking, then answers", async () => {
  const widget = await used.open();
  await widget.open();
  let wake;
  const awake = new Promise((resolve) => (wake = resolve));
  used.internet.fault(() => awake);
  await widget.ask("How do I wind the clock?");
  await widget.text(strings.waking).waitFor();
  wake();
  await widget.text("The book says this.").waitFor();
  await widget.answered();
  assert.deepEqual(widget.page.errors, []);
});

test("a platform's page with status 503 is a sleeping host too", async () => {
  const widget = await used.open();
  await widget.open();
  let awake = false;
  let health = 0;
  used.internet.fault((request, response) => {
    if (awake) return false;
    // The host is up when it was asked often enough.
    if (request.url === "/health" && ++health === 3) awake = true;
    response.writeHead(503, { "Content-Type": "text/html" }).end(STARTING);
    return true;
  });
  const next = used.model.next();
  await widget.ask("How do I wind the clock?");
  await widget.text(strings.waking).waitFor();
  const request = await next;
  request.say("Every week.");
  request.finish();
  await widget.text("Every week.").waitFor();
  assert.equal(await widget.element.getByText("How do I wind the clock?").count(), 1);
});

test("a connection that breaks in the middle keeps the text, says so and offers to ask again", async () => {
  const widget = await used.open();
  await widget.open();
  const next = used.model.next();
  await widget.ask("How do I wind the clock?");
  const request = await next;
  request.say("On the same day ");
  await widget.text("On the same day").waitFor();
  used.internet.cut();
  await widget.text(strings.interrupted).waitFor();
  await widget.text("On the same day").waitFor();
  await widget.button(strings.retry).click();
  await widget.text("The book says this.").waitFor();
});

test("a model that breaks off is told as Quire tells it", async () => {
  const widget = await used.open();
  await widget.open();
  const next = used.model.next();
  await widget.ask("How do I wind the clock?");
  const request = await next;
  request.say("On the same day ");
  await widget.text("On the same day").waitFor();
  request.drop();
  await widget.button(strings.retry).waitFor();
});

test("a reader who leaves the page with the form open has voted, without the note, and cannot vote again", async () => {
  const widget = await used.open();
  await widget.open();
  await widget.ask("How do I wind the clock?");
  await widget.answered();
  await widget.button(strings.notHelpful).click();
  await widget.element.getByLabel(strings.reasonWrong).check();
  await widget.element.getByLabel(strings.note).fill("Not sent");
  await widget.page.goto(`http://${PAGE}/next/`);
  await widget.answered();
  assert.equal(await widget.button(strings.notHelpful).getAttribute("aria-pressed"), "true");
  const address = `http://127.0.0.1:${used.quire.port}/admin/questions?vote=down`;
  let voted;
  while (!voted) {
    const response = await fetch(address, { headers: { "X-API-Key": KEY } });
    [voted] = (await response.json()).questions;
  }
  assert.deepEqual([voted.reason, voted.note], ["wrong", null]);
});

test("a page of another origin is told that it is not allowed", async () => {
  used.internet.page("stranger.example", "<h1>A stranger</h1>");
  const widget = await used.open("http://stranger.example/");
  await widget.open();
  await widget.ask("How do I wind the clock?");
  await widget.text(strings.notAllowed).waitFor();
});
