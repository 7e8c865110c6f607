// Writing a question, the conversation that lasts for the visit, and what a screen reader says.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PAGE, usePlainPage } from "./support/plain-page.mjs";
import { strings, until } from "./support/widget.mjs";

const KEY = "quire:http://quire.example";
const QUESTION = "How do I turn the key?";
const used = usePlainPage();

async function open(options) {
  used.internet.document(
    PAGE,
    '<!doctype html><html lang="en"><title>A page</title><body><script src="http://quire.example/widget.js" defer></script>',
  );
  const widget = await used.open(undefined, options);
  await widget.open();
  return widget;
}

async function ask(widget, question = QUESTION) {
  const next = used.model.next();
  await widget.ask(question);
  return next;
}

const saved = (page) => page.evaluate((key) => JSON.parse(sessionStorage.getItem(key)), KEY);

test("Enter sends, Shift+Enter breaks the line, and the field grows", async () => {
  const widget = await open();
  const { question, page } = widget;
  const { height } = await question.boundingBox();
  await question.fill("One");
  await question.press("Shift+Enter");
  await page.keyboard.type("two");
  assert.equal(await question.inputValue(), "One\ntwo");
  assert.ok((await question.boundingBox()).height > height + 10);
  await question.press("Enter");
  await widget.text("One").waitFor();
  assert.equal(await question.inputValue(), "");
  assert.ok(Math.abs((await question.boundingBox()).height - height) < 1);
});

test("Enter that ends a composition does not send", async () => {
  const widget = await open();
  await widget.question.fill("にほん");
  for (const pressed of [{ isComposing: true }, { keyCode: 229 }]) {
    await widget.question.evaluate((field, pressed) => {
      field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...pressed }));
    }, pressed);
  }
  assert.equal(await widget.question.inputValue(), "にほん");
  assert.equal(await widget.element.getByRole("article").count(), 0);
});

test("an empty question is not sent, and a long one ends at 1,000 characters", async () => {
  const widget = await open();
  await widget.question.press("Enter");
  await widget.question.fill("   ");
  await widget.question.press("Enter");
  assert.equal(await widget.element.getByRole("article").count(), 0);
  assert.equal(await widget.button(strings.send).isDisabled(), true);
  assert.equal(await widget.question.evaluate((field) => field.maxLength), 1000);
});

test("one answer at a time; what is typed meanwhile stays", async () => {
  const widget = await open();
  const request = await ask(widget);
  await widget.question.fill("And then?");
  await widget.question.press("Enter");
  assert.equal(await widget.question.inputValue(), "And then?");
  assert.equal(await widget.element.getByRole("article").count(), 1);
  request.finish();
  await widget.button(strings.send).waitFor();
  assert.equal(await widget.question.inputValue(), "And then?");
});

test("a question that cannot be asked now waits in the field", async () => {
  const widget = await open();
  const request = await ask(widget);
  await widget.page.evaluate(() => document.querySelector("quire-ask").open("And then?"));
  await until(widget.page, () => document.querySelector("quire-ask").shadowRoot.querySelector("textarea").value);
  assert.equal(await widget.question.inputValue(), "And then?");
  request.finish();
});

test("the keyboard goes on from the conversation when the pressed button is gone", async () => {
  const widget = await open();
  const { page } = widget;
  const starter = widget.element.getByRole("group", { name: strings.tryAsking }).getByRole("button").first();
  const next = used.model.next();
  await starter.focus();
  await page.keyboard.press("Enter");
  (await next).finish();
  await until(page, () => document.activeElement.shadowRoot?.activeElement?.matches(".conversation"));
  await page.keyboard.press("Escape");
  await widget.panel.waitFor({ state: "hidden" });
});

test("the book's name is there at once on the next page", async () => {
  const widget = await open();
  const { page } = widget;
  await widget.text("Ask The tide clock").waitFor();
  used.internet.fault((request, response) => {
    if (!request.url.includes("config.json")) return false;
    response.destroy();
    return true;
  });
  await page.goto(`http://${PAGE}/next`);
  await widget.text("Ask The tide clock").waitFor();
});

test("the live region says that an answer comes, then all of it, once", async () => {
  const widget = await open();
  await widget.page.evaluate(() => {
    const region = document.querySelector("quire-ask").shadowRoot.querySelector("[role=status]");
    window.said = [];
    new MutationObserver(() => said.push(region.textContent)).observe(region, { childList: true, characterData: true, subtree: true });
  });
  const request = await ask(widget);
  for (const word of "Turn it **eleven** half turns to the `left`".split(" ")) request.say(`${word} `);
  request.say(`${request.cite("eleven half turns")}.`);
  request.finish();
  await widget.answered();
  const said = (await widget.page.evaluate(() => said)).filter(Boolean);
  assert.deepEqual(said.map((text) => text.trim()), [strings.answering, "Turn it eleven half turns to the left ."]);
  const live = await widget.page.evaluate(
    () => document.querySelector("quire-ask").shadowRoot.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]").length,
  );
  assert.equal(live, 1);
});

test("the visit's conversation is there on the next page, in the same session", async () => {
  const widget = await open();
  const { page } = widget;
  const request = await ask(widget);
  request.say("Eleven half turns.");
  request.finish();
  await widget.answered();
  const { session } = await saved(page);
  assert.match(session, /^[0-9a-f-]{36}$/);
  await page.goto(`http://${PAGE}/next`);
  await widget.text("Eleven half turns.").waitFor();
  const sent = page.waitForRequest("http://quire.example/chat");
  await widget.ask("And to the right?");
  assert.equal((await sent).postDataJSON().session_id, session);
  await widget.button(strings.newConversation).click();
  assert.equal(await widget.element.getByRole("article").count(), 0);
  assert.notEqual((await saved(page)).session, session);
});

test("an answer that was being received when the reader left is shown as interrupted", async () => {
  const widget = await open();
  const request = await ask(widget);
  request.say("Eleven half");
  await widget.text("Eleven half").waitFor();
  await widget.page.reload();
  await widget.text("Eleven half").waitFor();
  await widget.text(strings.interrupted).waitFor();
  const next = used.model.next();
  await widget.button(strings.retry).click();
  const again = await next;
  assert.equal(again.question, QUESTION);
  assert.equal(await widget.element.getByText("Eleven half").count(), 0);
  again.finish();
});

for (const [title, text] of [
  ["no JSON", "{"],
  ["null", "null"],
  ["another shape", '{"turns": 7}'],
  [
    "turns that are none",
    JSON.stringify({
      session: "<script>",
      turns: [
        null,
        7,
        { id: "1", question: 5, answer: "", state: "done" },
        { id: "2", question: "q", answer: "a", state: "evil" },
        { id: "3", question: "Kept?", answer: "Kept.", state: "done", citations: [1, { marker: 1 }], done: { follow_ups: 5 }, selection: 1, vote: "x" },
      ],
    }),
  ],
]) {
  test(`saved content that is ${title} breaks nothing`, async () => {
    const widget = await open();
    const { page } = widget;
    // The page that is left saves its own.
    await page.addInitScript(([key, value]) => {
      if (!window.name) sessionStorage.setItem(key, value);
      window.name = "set";
    }, [KEY, text]);
    await page.reload();
    await widget.question.waitFor();
    if (title.startsWith("turns")) await widget.text("Kept.").waitFor();
    const request = await ask(widget);
    request.say("Eleven half turns.");
    request.finish();
    await widget.text("Eleven half turns.").waitFor();
    assert.deepEqual(page.errors, []);
  });
}

test("at most 20 turns and 200,000 characters are kept", async () => {
  const widget = await open();
  const { page } = widget;
  const turn = (n, length) => ({ id: `${n}`, question: `Question ${n}`, answer: "x".repeat(length), citations: [], state: "done" });
  const restore = async (turns) => {
    await page.addInitScript(([key, value]) => {
      if (window.name !== value.slice(0, 60)) sessionStorage.setItem(key, value);
      window.name = value.slice(0, 60);
    }, [KEY, JSON.stringify({ session: `session-${turns.length}`, turns })]);
    await page.reload();
    await widget.text("Question").waitFor();
    await page.evaluate(() => dispatchEvent(new Event("pagehide")));
    return saved(page);
  };
  const many = await restore(Array.from({ length: 30 }, (_, n) => turn(n, 10)));
  assert.deepEqual(many.turns.map(({ id }) => Number(id)), Array.from({ length: 20 }, (_, n) => n + 10));
  const long = await restore(Array.from({ length: 5 }, (_, n) => turn(n, 60_000)));
  assert.deepEqual(long.turns.map(({ id }) => id), ["2", "3", "4"]);
});

test("works where the browser forbids storage, and on a page without https", async () => {
  const widget = await open({
    init: () => {
      Object.defineProperty(window, "sessionStorage", {
        get() {
          throw new DOMException("no", "SecurityError");
        },
      });
      delete Crypto.prototype.randomUUID;
    },
  });
  const { page } = widget;
  const sent = page.waitForRequest("http://quire.example/chat");
  const request = await ask(widget);
  request.say("Eleven half turns.");
  request.finish();
  await widget.text("Eleven half turns.").waitFor();
  assert.match((await sent).postDataJSON().session_id, /^[0-9a-f]{32}$/);
  assert.deepEqual(page.errors, []);
});
