// The page at /admin of a real Quire, as its author sees it.

import assert from "node:assert/strict";
import { after, afterEach, before } from "node:test";
import { fileURLToPath } from "node:url";
import { openPage, startBrowser } from "./browser.mjs";
import { startInternet } from "./internet.mjs";
import { writeLog } from "./log.mjs";
import { startModel } from "./model.mjs";
import { startQuire } from "./quire.mjs";

export const KEY = "the-admin-key";
export const ADMIN = "http://quire.example/admin";
export const LOOKS = {
  light: {},
  dark: { colorScheme: "dark" },
  phone: { viewport: { width: 360, height: 740 } },
};
const DAY = 86_400_000;
const MARKUP = `<img src="http://evil.example/x" onerror="window.hurt = 1"><script>window.hurt = 1</script><b>bold</b>`;
export const HOSTILE = {
  markup: MARKUP,
  "a long word": "W".repeat(1_000),
  "direction overrides": "\u202Eover\u2066isolated\u202D\u2067 the end",
  "a formula": `=HYPERLINK("http://evil.example", "x")`,
  "combining marks": `Zalgo ${"o\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u0309\u030A".repeat(20)}`,
};
export const LONG = "A long question. ".repeat(300);

const BOOK = fileURLToPath(new URL("../sites/pages/", import.meta.url));

/**
 * A Quire whose log is on, unless `env` says otherwise. `fill` runs once, before the tests.
 *
 * After each test: the page had no error but the `expected` ones, and asked no other host.
 */
export function useAdmin({ env = {}, content = () => BOOK, fill = async () => {} } = {}) {
  const used = { expected: /$^/ };
  const pages = [];

  before(async () => {
    used.internet = await startInternet();
    used.model = await startModel();
    const settings = {
      ADMIN_API_KEY: KEY,
      QUESTION_LOG: "90d",
      SITE_URL: "http://page.example",
      SITE_GENERATOR: "mkdocs",
      BOOK_TITLE: "The tide clock",
      TRUSTED_PROXY_HOPS: "1",
    };
    used.quire = await startQuire({ content: await content(), model: used.model, env: { ...settings, ...env } });
    used.internet.quire(used.quire);
    used.internet.quireUnder("page.example", "/docs/ask", used.quire);
    used.browser = await startBrowser(used.internet);
    await fill(used);
  });

  afterEach(async () => {
    used.internet.fault(null);
    const errors = [];
    for (const page of pages.splice(0)) {
      errors.push(...page.errors.filter((error) => !used.expected.test(error)));
      errors.push(...page.requested.filter((url) => !/^(blob:)?http:\/\/(quire|page)\.example\//.test(url)));
      await page.context().close();
    }
    used.expected = /$^/;
    assert.deepEqual(errors, []);
  });

  after(async () => {
    await used.browser?.close();
    await used.quire?.stop();
    used.model?.stop();
    used.internet?.stop();
  });

  /** The form to sign in. */
  used.open = async (url = ADMIN, options = {}) => {
    const page = await openPage(used.browser, "about:blank", options);
    page.requested = [];
    page.on("request", (request) => page.requested.push(request.url()));
    pages.push(page);
    await page.goto(url);
    return page;
  };

  /** A view, signed in. */
  used.view = async (view = "overview", options = {}) => {
    const page = await used.open(`${options.url ?? ADMIN}#${view}`, options);
    await signIn(page);
    await loaded(page);
    return page;
  };

  /** Ask a question over HTTP. Returns the answer. */
  used.ask = (question, session) => post(used.quire, "chat", { question, stream: false, session_id: session });
  used.vote = (ballot) => post(used.quire, "feedback", ballot);
  return used;
}

/** Fill the log with questions of each kind, and hostile ones. */
export async function fillLog({ ask, vote, quire }) {
  const earlier = Array.from({ length: 120 }, (_, at) => ({
    asked_at: Date.now() - Math.floor(at / 5) * DAY - 60_000,
    question: `Question ${at} about the harbour`,
    conversation: `earlier-${at}`,
    outcome: ["answered", "answered", "refused", "left", "small_talk"][at % 5],
    mode: "generated",
    first_ms: 200 + 7 * at,
    total_ms: 3_000,
    prompt_tokens: 900,
    completion_tokens: 100,
    cost_usd: 0.0005,
    passages: at % 5 > 1 ? [] : [
      { file_path: "winding.md", heading: "Winding > The spring", url: "http://page.example/winding/#the-spring", start_char: 0, end_char: 9, score: 0.8, cited: true },
      { file_path: "faults.md", heading: "Faults", url: "javascript:window.hurt = 1", start_char: 0, end_char: 9, score: 0.3, cited: false },
    ],
  }));
  await writeLog(quire, [...earlier, { question: LONG, outcome: "refused", conversation: "long" }]);
  const first = await ask("How do I wind the clock?", "a1b2c3-winding-the-clock");
  await ask("And after a long rest?", "a1b2c3-winding-the-clock");
  await vote({ answer_id: first.answer_id, vote: "up" });
  const second = await ask("Why does the clock stop at low water?", "stopping");
  await vote({ answer_id: second.answer_id, vote: "down", reason: "incomplete", note: `Which brush? ${MARKUP}` });
  for (const question of ["How deep is the Dead Sea?", "Wie tief ist das Tote Meer?", "Does Alexa read the tide?"]) {
    await ask(question, question.replace(/\W/g, ""));
  }
  for (const [kind, question] of Object.entries(HOSTILE)) await ask(question, kind.replaceAll(" ", "-"));
}

export async function signIn(page, key = KEY) {
  await page.getByLabel("Admin key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
}

/** Wait until all parts of the view are there. */
export async function loaded(page) {
  await page.getByRole("navigation").waitFor();
  await page.waitForFunction(() => !document.querySelector("[aria-busy]"));
}

export async function go(page, name) {
  await page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
  // The view changes with the event hashchange, some time after the click.
  await page.locator("nav [aria-current]").getByText(name, { exact: true }).waitFor();
  await loaded(page);
}

export async function isAsWideAsItsWindow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
}

/** Click something that downloads a file. Returns its name and text. */
export async function downloaded(page, button) {
  const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
  const parts = [];
  for await (const part of await download.createReadStream()) parts.push(part);
  return { name: download.suggestedFilename(), text: Buffer.concat(parts).toString("utf8") };
}

async function post({ port }, path, body) {
  const response = await fetch(`http://127.0.0.1:${port}/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

/** A question in the list. */
export const question = (page, text) => page.locator("details.question", { hasText: text }).first();

/** The same, with its details. */
export async function opened(page, text) {
  const found = question(page, text);
  await found.locator("summary").click();
  await found.locator(".detail > *").waitFor();
  return found;
}
