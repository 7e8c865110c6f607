// A real Quire on another origin: what the browser lets the page see of it.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import strings from "../src/locales/en.ts";
import { openPage, startBrowser } from "./support/browser.mjs";
import { startInternet } from "./support/internet.mjs";
import { bundleParts } from "./support/parts.mjs";
import { startQuire } from "./support/quire.mjs";

const QUESTION = "How often does the spring get grease?";
let internet;
let browser;
let quire;
let script;

before(async () => {
  internet = await startInternet();
  browser = await startBrowser(internet);
  quire = await startQuire({
    content: fileURLToPath(new URL("sites/pages/", import.meta.url)),
    env: { ALLOWED_ORIGINS: "http://page.example" },
  });
  internet.quire(quire);
  for (const host of ["page.example", "vitepress.example"]) {
    internet.pages(host, { "/": "<!doctype html><title>Page</title><h1>Page</h1>" });
  }
  script = await bundleParts(`export * from "./api.ts"; export { default as strings } from "./locales/en.ts";`);
});

after(async () => {
  await browser?.close();
  await quire?.stop();
  internet?.stop();
});

afterEach(() => internet.fault(null));

/** Ask from a page. Returns the events' types, the answer and the problem. */
async function ask(origin) {
  const page = await openPage(browser, origin);
  await page.addScriptTag({ content: script });
  internet.forget();
  const asked = await page.evaluate(async (question) => {
    const { ask, strings, timing } = parts;
    Object.assign(timing, { pause: 50, longestPause: 100 });
    const types = [];
    let answer = "";
    try {
      for await (const event of ask("http://quire.example", { question }, new AbortController().signal, strings)) {
        if (event.type !== types.at(-1)) types.push(event.type);
        answer += event.content ?? "";
      }
    } catch (error) {
      return { types, problem: error.problem };
    }
    return { types, answer };
  }, QUESTION);
  await page.context().close();
  const questions = internet.requests().filter((line) => line === "POST quire.example/chat").length;
  return { ...asked, questions };
}

test("a page of an allowed origin gets an answer", async () => {
  const { types, answer, questions } = await ask("http://page.example");
  assert.equal(types.at(-1), "done");
  assert.match(answer, /whale-free grease/);
  assert.equal(questions, 1);
});

test("a page of another origin is told that it is not allowed", async () => {
  const { types, problem } = await ask("http://vitepress.example");
  assert.deepEqual(types, []);
  assert.equal(problem.message, strings.notAllowed);
});

test("a platform's page, which the browser hides from the site, wakes the host", async () => {
  let left;
  internet.fault((_, response) => {
    if (left-- <= 0) return false;
    response.writeHead(503, { "Content-Type": "text/html" }).end("<!doctype html>Starting");
    return true;
  });
  // It wakes up after any of the requests.
  for (const requests of [1, 2, 3, 4, 5, 8]) {
    left = requests;
    const { types, answer, problem } = await ask("http://page.example");
    assert.equal(problem, undefined);
    assert.equal(types[0], requests < 3 ? "chunk" : "waking", `after ${requests}`);
    assert.equal(types.at(-1), "done");
    assert.match(answer, /grease/);
  }
});

test("an answer that is cut is incomplete, and the question is not sent again", async () => {
  internet.fault((request, response) => {
    if (request.method !== "POST") return false;
    const { write } = response;
    response.write = (data) => {
      response.write = response.end = () => true;
      write.call(response, data.subarray(0, 90), () => response.destroy());
      return true;
    };
    return false;
  });
  const { problem, questions } = await ask("http://page.example");
  assert.equal(problem.message, strings.interrupted);
  assert.equal(questions, 1);
});
