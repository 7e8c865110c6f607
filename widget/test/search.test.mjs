// Pages while the reader types, in the composer.

import assert from "node:assert/strict";
import { after, before, beforeEach, afterEach, test } from "node:test";
import axe from "axe-core";
import { startBrowser } from "./support/browser.mjs";
import { openParts } from "./support/parts.mjs";

const passage = (n, heading, text = `Text about ${heading}.`) => ({
  chunk_id: String(n), text, chapter: "Clock", section: "", heading, file_path: `p${n}.md`,
  url: `http://page.example/p${n}#h`,
});
const WIND = [passage(1, "Winding", "## Winding\n\nWind the *spring* with [the key](x.md)."), passage(2, "Rewinding"), passage(3, "Windows")];

let browser;
let page;
/** query -> { passages, status, headers, wait } */
let answers;
let asked;

before(async () => {
  browser = await startBrowser({ port: 9 });
});
after(() => browser?.close());

beforeEach(async () => {
  asked = [];
  answers = () => ({ passages: WIND });
  page = await openParts(
    browser,
    `
    import composer from "./composer.css";
    import search from "./search.css";
    import theme from "./theme.css";
    import loader from "./loader.css";
    import { Composer } from "./composer.ts";
    import { make } from "./dom.ts";
    import strings from "./locales/en.ts";
    export const log = [];
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(loader + theme + composer + search);
    const root = make("div");
    root.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
    export const field = () => root.shadowRoot.querySelector("textarea");
    export const composer_ = new Composer({
      host: location.origin, strings, root: root.shadowRoot,
      ask: (question) => log.push("ask " + question),
      open: (url, excerpt) => log.push("open " + url + " " + excerpt),
      resolve: (url) => url && new URL(url, location.href).href,
      announce: (text) => log.push("say " + text),
    });
    const box = make("div", { class: "quire" }, make("div", { style: "height: 30em" }), composer_.element);
    root.shadowRoot.append(box);
    document.body.append(make("main", {}, make("h1", {}, "Page"), root));
    `,
  );
  await page.route("**/search?**", async (route) => {
    const query = new URL(route.request().url()).searchParams.get("q");
    asked.push(query);
    const { passages, status = 200, headers, wait } = answers(query);
    if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
    await route.fulfill({ status, headers, json: { query, passages } }).catch(() => {});
  });
  await page.locator("textarea").focus();
});

afterEach(async () => {
  assert.deepEqual(page.errors.filter((text) => !text.includes("429") && !text.includes("500")), []);
  await page.context().close();
});

/** Type without a pause: keys that the test sends may come late on a slow machine. */
const type = (text) =>
  page.evaluate((text) => {
    for (const letter of text) document.execCommand("insertText", false, letter);
  }, text);
const press = (key) => page.keyboard.press(key);
const options = () => page.locator("[role=option]").allTextContents();
const list = () => page.locator("[role=listbox]");
const log = () => page.evaluate(() => parts.log);
const active = () =>
  page.evaluate(() => {
    const id = parts.field().getAttribute("aria-activedescendant");
    const option = id && parts.field().getRootNode().getElementById(id);
    return option ? [option.textContent, option.ariaSelected] : null;
  });
/** Longer than the pause before a search and its answer. */
const settle = () => page.waitForTimeout(400);

test("pages are listed after asking, with their path, an excerpt and the typed words marked", async () => {
  await type("wind the spr");
  await list().waitFor();
  assert.deepEqual(await options(), [
    "Ask: wind the spr",
    "Clock › WindingWind the spring with the key.",
    "Clock › RewindingText about Rewinding.",
    "Clock › WindowsText about Windows.",
  ]);
  assert.deepEqual(await page.locator("mark").allTextContents(), ["Wind", "Wind", "the", "spr", "the", "Wind", "Wind"]);
  assert.deepEqual(asked, ["wind the spr"]);
  assert.deepEqual(await log(), ["say Pages found: 3"]);
});

test("arrows choose, Enter opens or asks, Escape closes the list first", async () => {
  let closed = 0;
  await page.exposeFunction("escaped", () => closed++);
  await page.evaluate(() => addEventListener("keydown", (event) => event.key === "Escape" && escaped()));
  await type("wind");
  await list().waitFor();
  assert.equal(await active(), null);
  await press("ArrowDown");
  assert.deepEqual(await active(), ["Ask: wind", "true"]);
  await press("ArrowUp");
  assert.equal(await active(), null);
  await press("ArrowUp");
  assert.deepEqual(await active(), ["Clock › WindowsText about Windows.", "true"]);
  await press("ArrowDown");
  assert.equal(await active(), null);
  await press("Escape");
  assert.ok(await list().isHidden());
  assert.equal(closed, 0);
  await press("Escape");
  assert.equal(closed, 1);

  await type("i");
  await list().waitFor();
  await press("ArrowDown");
  await press("ArrowDown");
  await press("Enter");
  assert.ok(await list().isHidden());
  assert.equal((await log()).at(-1), "open http://page.example/p1#h Wind the spring with the key.");
  assert.equal(await page.evaluate(() => parts.field().value), "windi");

  await type("n");
  await list().waitFor();
  await press("ArrowDown");
  await press("Enter");
  assert.equal((await log()).at(-1), "ask windin");
});

test("Enter without a choice asks, and closes the list", async () => {
  await type("wind");
  await list().waitFor();
  await press("Enter");
  assert.equal((await log()).at(-1), "ask wind");
  assert.ok(await list().isHidden());
  await settle();
  assert.ok(await list().isHidden());
});

test("a click opens or asks, and leaves the focus in the field", async () => {
  await type("wind");
  await page.locator("[role=option]").nth(2).click();
  assert.equal((await log()).at(-1), "open http://page.example/p2#h Text about Rewinding.");
  assert.ok(await page.evaluate(() => parts.field().matches(":focus")));
  await type("o");
  await page.locator("[role=option]").first().click();
  assert.equal((await log()).at(-1), "ask windo");
});

test("one search for words that are typed without a pause, and none for less than two letters", async () => {
  await type("w");
  await settle();
  assert.deepEqual(asked, []);
  await type("inding");
  await list().waitFor();
  assert.deepEqual(asked, ["winding"]);
});

test("results of an old query are never shown", async () => {
  answers = (query) => (query === "wi" ? { passages: [passage(9, "Old")], wait: 900 } : { passages: WIND });
  await type("wi");
  await page.waitForTimeout(250);
  await type("nd");
  await list().waitFor();
  await page.waitForTimeout(1_000);
  assert.deepEqual(asked, ["wi", "wind"]);
  assert.equal((await options())[1], "Clock › WindingWind the spring with the key.");
});

test("nothing is listed for several lines, for a long text, or during a conversation", async () => {
  await type("wind");
  await list().waitFor();
  await press("Shift+Enter");
  await type("x");
  assert.ok(await list().isHidden());
  await page.locator("textarea").fill("x".repeat(201));
  await settle();
  await page.evaluate(() => (parts.composer_.pages.enabled = false));
  await page.locator("textarea").fill("clock");
  await settle();
  assert.deepEqual(asked, ["wind"]);
  await page.evaluate(() => (parts.composer_.pages.enabled = true));
  await type("s");
  await list().waitFor();
  await page.evaluate(() => (parts.composer_.pages.enabled = false));
  assert.ok(await list().isHidden());
});

test("the list is gone when the field loses the focus, and without results", async () => {
  await type("wind");
  await list().waitFor();
  await page.evaluate(() => parts.field().blur());
  assert.ok(await list().isHidden());
  await page.locator("textarea").focus();
  await type("x");
  await list().waitFor();
  answers = () => ({ passages: [] });
  await type("y");
  await list().waitFor({ state: "hidden" });
});

test("errors are silent, and after a 429 nothing is asked until Retry-After", async () => {
  answers = () => ({ status: 500 });
  await type("wind");
  await settle();
  assert.ok(await list().isHidden());
  answers = () => ({ status: 429, headers: { "Retry-After": "2" } });
  await type("i");
  await settle();
  answers = () => ({ passages: WIND });
  await type("n");
  await settle();
  assert.deepEqual(asked, ["wind", "windi"]);
  await page.waitForTimeout(1_600);
  await type("g");
  await list().waitFor();
  await press("Enter");
  assert.deepEqual(await log(), ["say Pages found: 3", "ask winding"]);
});

test("the list does not change under a pointer that moves", async () => {
  await type("wind");
  await list().waitFor();
  answers = () => ({ passages: [passage(4, "Other")] });
  const box = await page.locator("[role=option]").nth(1).boundingBox();
  await type("i");
  for (let step = 0; step < 8; step++) {
    await page.mouse.move(box.x + 20 + step, box.y + 10);
    await page.waitForTimeout(60);
  }
  assert.equal(asked.at(-1), "windi");
  assert.equal((await options()).length, 4);
  await page.waitForFunction(() => parts.field().getRootNode().querySelectorAll("[role=option]").length === 2);
});

test("a page and heading has one entry; what cannot be opened has none", async () => {
  answers = () => ({
    passages: [passage(1, "One"), passage(1, "One", "More."), { ...passage(2, "Two"), url: null }, passage(3, "Three")],
  });
  await type("clock");
  await list().waitFor();
  assert.deepEqual((await options()).slice(1), ["Clock › OneText about One.", "Clock › ThreeText about Three."]);
});

test("an excerpt is plain text around the first match", async () => {
  const far = `${"Nothing here at all. ".repeat(20)}The tide turns.`;
  const markup = "# Title\n\n```bash\nrun --fast\n```\n> ![A tide](tide.png) <b>is</b> `set_tide`\n\n| a | b |\n|---|---|\n1. **Tide** _now_";
  answers = () => ({ passages: [passage(1, "Far", far), passage(2, "Markup", markup)] });
  await type("tide");
  await list().waitFor();
  const [one, other] = await page.locator(".excerpt").allTextContents();
  assert.match(one, /^… .{10,60}The tide turns\.$/);
  assert.equal(other, "run --fast A tide is set_tide a b Tide now");
});

test("text is text, and hostile queries and passages are harmless", async () => {
  const hostile = "<img src=x onerror=alert(1)> (((((".repeat(5);
  answers = () => ({ passages: [{ ...passage(1, hostile, hostile.repeat(20)), chapter: hostile }] });
  await page.locator("textarea").fill("<img .*+?^${}()|[\\] (((");
  await list().waitFor();
  assert.equal(await list().locator("img").count(), 0);
});

test("scripts without spaces are matched within words", async () => {
  answers = () => ({ passages: [passage(1, "潮時計", "この潮時計は正確です。")] });
  await page.locator("textarea").fill("時計");
  await list().waitFor();
  assert.deepEqual(await page.locator("mark").allTextContents(), ["時計", "時計"]);
});

test("nothing is searched while a word is composed", async () => {
  await page.evaluate(() => {
    const field = parts.field();
    field.value = "かん";
    field.dispatchEvent(new InputEvent("input", { isComposing: true }));
  });
  await settle();
  assert.deepEqual(asked, []);
  await page.evaluate(() => parts.field().dispatchEvent(new CompositionEvent("compositionend")));
  await list().waitFor();
});

test("axe finds nothing", async () => {
  await type("wind");
  await list().waitFor();
  await press("ArrowDown");
  await page.addScriptTag({ content: axe.source });
  const { violations } = await page.evaluate(() => axe.run());
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), []);
});
