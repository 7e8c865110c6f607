// What the widget costs a site: requests, layout shift, long tasks.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { usePlainPage } from "./support/plain-page.mjs";
import { useSite } from "./support/test-site.mjs";

/** Collects layout shifts, and tasks of over 50 ms, from the start of a page. */
function watch() {
  window.shifts = [];
  window.tasks = [];
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) shifts.push(value);
  }).observe({ type: "layout-shift", buffered: true });
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) tasks.push(duration);
  }).observe({ type: "longtask", buffered: true });
}

/** Two frames are painted, and what was observed until then is delivered. */
const settle = (page) =>
  page.evaluate(
    () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50)))),
  );

const toQuire = ({ internet }) =>
  internet.requests().filter((line) => line.includes(" quire.example/"));

async function load(used, open) {
  used.internet.forget();
  const widget = await open();
  await widget.launcher.waitFor();
  await widget.page.waitForLoadState("networkidle");
  return widget;
}

const plain = usePlainPage({ html: `<h1>A page</h1>${"<p>Text of the page. ".repeat(200)}` });

test("on an empty page, no task of the widget takes over 50 ms", async () => {
  const widget = await load(plain, () => plain.open("http://page.example/", { init: watch }));
  assert.deepEqual(toQuire(plain), ["GET quire.example/widget.js"]);
  await widget.open();
  await widget.ask("How do I turn the key?");
  await widget.answered();
  await settle(widget.page);
  assert.deepEqual(await widget.page.evaluate(() => window.tasks), []);
});

for (const name of ["docusaurus", "mkdocs", "vitepress"]) {
  const used = useSite(name);
  afterEach(() => used.close());

  test(`${name}: one request until intent, and nothing moves`, async () => {
    const widget = await load(used, () => used.open("winding", { init: watch }));
    const { page } = widget;
    assert.deepEqual(toQuire(used), ["GET quire.example/widget.js"]);
    await settle(page);
    assert.deepEqual(await page.evaluate(() => window.shifts), []);
    await widget.open();
    await settle(page);
    assert.deepEqual(await page.evaluate(() => window.shifts), [], "when it opens");
  });
}
