// The page at /admin of a real Quire, as its author sees it.

import assert from "node:assert/strict";
import { after, afterEach, before } from "node:test";
import { fileURLToPath } from "node:url";
import { openPage, startBrowser } from "./browser.mjs";
import { startInternet } from "./internet.mjs";
import { startModel } from "./model.mjs";
import { startQuire } from "./quire.mjs";

export const KEY = "the-admin-key";
export const ADMIN = "http://quire.example/admin";
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
