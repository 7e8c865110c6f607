// The button beside selected text.

import assert from "node:assert/strict";
import { after, before, afterEach, beforeEach, test } from "node:test";
import { startBrowser } from "./support/browser.mjs";
import { openParts } from "./support/parts.mjs";

let browser;
let page;

before(async () => {
  browser = await startBrowser({ port: 9 });
});
after(() => browser?.close());

async function open({ late = false, ...options } = {}) {
  page = await openParts(
    browser,
    `
    import loader from "./loader.css";
    import selection from "./selection.css";
    import theme from "./theme.css";
    import { make } from "./dom.ts";
    import strings from "./locales/en.ts";
    import { currentSelection, watchSelection } from "./selection.ts";
    export { currentSelection };
    export const watch = () => watchSelection(box, strings, (selection) => asked.push(selection));
    export const asked = [];
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(loader + theme + selection);
    customElements.define("quire-ask", class extends HTMLElement {});
    const host = make("quire-ask");
    host.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
    const box = make("div", { class: "quire" }, make("p", { id: "answer" }, "An answer of the widget, which is long enough"));
    host.shadowRoot.append(box);
    const text = "The tide clock shows the tide of your harbour. ";
    document.body.append(
      make("main", { style: "font: 16px sans-serif; width: 500px" },
        make("p", { id: "first" }, text),
        make("p", { id: "long", style: "white-space: pre" }, (text + "\\n").repeat(200)),
        make("p", { id: "last" }, text),
        make("textarea", {}, text),
        make("div", { contenteditable: "true", id: "editor" }, text),
        make("div", { class: "cm-editor" }, make("p", { id: "code" }, text)),
      ),
      host,
    );
    if (!${late}) watch();
    `,
    options,
  );
}

beforeEach(() => open());
afterEach(async () => {
  assert.deepEqual(page.errors, []);
  await page.context().close();
});

const button = () => page.getByRole("button", { name: "Ask about this" });
const select = (selector, start = 0, end = 40) =>
  page.evaluate(([selector, start, end]) => {
    const root = document.querySelector("quire-ask").shadowRoot;
    const text = (document.querySelector(selector) ?? root.querySelector(selector)).firstChild;
    getSelection().setBaseAndExtent(text, start, text, end);
  }, [selector, start, end]);
const current = () => page.evaluate(() => parts.currentSelection()?.text ?? null);
const settle = () => page.waitForTimeout(400);

/** The button and the selection's first and last line, in the window. */
const rectangles = () =>
  page.evaluate(() => {
    const float = document.querySelector("quire-ask").shadowRoot.querySelector(".about").getBoundingClientRect();
    const lines = [...getSelection().getRangeAt(0).getClientRects()];
    return { float: float.toJSON(), first: lines.at(0).toJSON(), last: lines.at(-1).toJSON() };
  });

test("a selection by mouse has a button below its end, which asks about it", async () => {
  const line = await page.locator("#first").boundingBox();
  await page.mouse.move(line.x + 2, line.y + 8);
  await page.mouse.down();
  await page.mouse.move(line.x + 200, line.y + 8, { steps: 4 });
  await settle();
  assert.ok(await button().isHidden(), "while the mouse is pressed");
  await page.mouse.up();
  await button().waitFor();
  const { float, last } = await rectangles();
  assert.ok(float.top >= last.bottom && float.top < last.bottom + 40);
  const text = await current();
  await button().click();
  assert.deepEqual(await page.evaluate(() => parts.asked), [{ text, source: "http://page.example/docs/" }]);
  assert.match(text, /^The tide clock shows/);
  assert.ok(await button().isHidden());
  assert.equal(await current(), text);
  await settle();
  assert.ok(await button().isHidden());
});

test("a selection by keyboard has one too", async () => {
  await select("#first", 0, 1);
  for (let n = 0; n < 11; n++) await page.keyboard.press("Shift+ArrowRight");
  await button().waitFor();
  assert.equal(await current(), "The tide clo");
});

test("a selection that was there before has one", async () => {
  await page.context().close();
  await open({ late: true });
  await select("#first");
  await settle();
  await page.evaluate(() => parts.watch());
  await button().waitFor();
});

test("it moves nothing, and stands above a selection at the window's end", async () => {
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.evaluate(() => document.querySelector("#last").scrollIntoView(false));
  await page.evaluate(() => scrollBy(0, 1));
  await select("#last");
  await button().waitFor();
  const { float, first } = await rectangles();
  assert.ok(float.bottom <= first.top);
  assert.equal(await page.evaluate(() => document.documentElement.scrollHeight), height);
});

test("it stays in the window for a selection that fills it, and is narrower than a phone", async () => {
  await select("#long", 0, 9_000);
  await page.evaluate(() => scrollTo(0, 900));
  await button().waitFor();
  const { float } = await rectangles();
  assert.ok(float.top > 0 && float.bottom < 800);
  await page.setViewportSize({ width: 320, height: 500 });
  await page.evaluate(() => scrollTo(0, 0));
  await select("#first", 0, 45);
  await page.waitForTimeout(400);
  const narrow = (await rectangles()).float;
  assert.ok(narrow.left >= 0 && narrow.right <= 320 && narrow.top > 0);
});

test("it follows the text, and is gone when that is scrolled away", async () => {
  await select("#first");
  await button().waitFor();
  await page.mouse.wheel(0, 20);
  await page.waitForFunction(() => scrollY === 20);
  await page.waitForFunction(() => {
    const float = document.querySelector("quire-ask").shadowRoot.querySelector(".about").getBoundingClientRect();
    return Math.abs(float.top - getSelection().getRangeAt(0).getBoundingClientRect().bottom) < 12;
  });
  await page.mouse.wheel(0, 2_000);
  await button().waitFor({ state: "hidden" });
});

test("it is gone after Escape until the selection changes, and when that is cleared", async () => {
  await select("#first");
  await button().waitFor();
  await page.keyboard.press("Escape");
  assert.ok(await button().isHidden());
  await page.mouse.move(5, 5);
  await settle();
  assert.ok(await button().isHidden());
  await select("#first", 0, 20);
  await button().waitFor();
  await page.evaluate(() => getSelection().removeAllRanges());
  await button().waitFor({ state: "hidden" });
  await select("#first", 0, 20);
  await button().waitFor();
  await page.mouse.click(700, 60);
  await button().waitFor({ state: "hidden" });
});

test("only text of the page counts, from 3 characters to 5,000", async () => {
  for (const selector of ["#answer", "#editor", "#code"]) {
    await select(selector, 0, 10);
    await settle();
    assert.equal(await current(), null, selector);
    assert.ok(await button().isHidden(), selector);
  }
  const answer = await page.locator("#answer").boundingBox();
  await page.mouse.move(answer.x + 2, answer.y + 8);
  await page.mouse.down();
  await page.mouse.move(answer.x + 100, answer.y + 8, { steps: 4 });
  await page.mouse.up();
  await settle();
  assert.equal(await current(), null);
  assert.ok(await button().isHidden());
  await page.locator("textarea").focus();
  await page.evaluate(() => document.querySelector("textarea").select());
  await settle();
  assert.equal(await current(), null);
  assert.ok(await button().isHidden());
  await page.evaluate(() => document.activeElement.blur());
  await select("#first", 3, 6);
  assert.equal(await current(), null, "two letters and a space");
  await select("#long", 0, 9_000);
  assert.equal((await current()).length, 5_000);
});

test("a character is never cut in half", async () => {
  await page.evaluate(() => {
    document.querySelector("#first").textContent = `x${"🌊".repeat(3_000)}`;
  });
  await select("#first", 0, 6_001);
  assert.match(await current(), /^x(🌊){2499}$/u);
});

test("a selection that is cleared while the page scrolls is no error", async () => {
  await select("#first");
  await button().waitFor();
  await page.evaluate(() => {
    getSelection().removeAllRanges();
    scrollTo(0, 40);
  });
  await button().waitFor({ state: "hidden" });
});

test("it leaves room for the handles of a touch screen, and a tap on it asks", async () => {
  await page.context().close();
  await open({ hasTouch: true, isMobile: true, viewport: { width: 390, height: 800 } });
  await select("#first");
  await button().waitFor();
  const { float, last } = await rectangles();
  assert.ok(float.top >= last.bottom + 24);
  await button().tap();
  assert.equal((await page.evaluate(() => parts.asked)).length, 1);
});

test("selecting costs the page nothing that can be measured", async () => {
  const milliseconds = await page.evaluate(async () => {
    const text = document.querySelector("#long").firstChild;
    const start = performance.now();
    for (let end = 1; end <= 500; end++) {
      getSelection().setBaseAndExtent(text, 0, text, end * 10);
      document.dispatchEvent(new Event("selectionchange"));
    }
    return performance.now() - start;
  });
  assert.ok(milliseconds < 300, `${milliseconds} ms for 500 changes`);
});
