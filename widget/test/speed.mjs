// What the widget costs a site: requests, layout shift, long tasks. `npm test` runs this alone.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { usePlainPage } from "./support/plain-page.mjs";
import { SITES } from "./support/sites.mjs";
import { useSite } from "./support/test-site.mjs";

/** Collects layout shifts, and tasks of over 50 ms, from the start of a page. */
function watch() {
  window.shift = 0;
  window.tasks = [];
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput } of list.getEntries()) if (!hadRecentInput) shift += value;
  }).observe({ type: "layout-shift", buffered: true });
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) tasks.push(duration);
  }).observe({ type: "longtask", buffered: true });
}

/** The sum of layout shifts without recent input, after what is painted next. */
const shiftOf = (page) =>
  page.evaluate(async () => {
    for (let frames = 0; frames < 3; frames++) await new Promise(requestAnimationFrame);
    await new Promise((done) => setTimeout(done));
    return window.shift;
  });

/** How many times slower this machine is than one that parses the text below in 3 ms; at least 1. */
const slownessOf = (page) =>
  page.evaluate(() => {
    const text = JSON.stringify(Array.from({ length: 20_000 }, (_, number) => ({ number, text: `${number}` })));
    const times = [];
    for (let repeats = 0; repeats < 20; repeats++) {
      const start = performance.now();
      JSON.parse(text);
      times.push(performance.now() - start);
    }
    return Math.max(1, Math.min(...times) / 3);
  });

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
  let tasks;
  // Other processes of the machine lengthen some tasks; a long one of the widget is always there.
  for (let tries = 0; tries < 3 && tasks?.length !== 0; tries++) {
    const widget = await load(plain, () => plain.open("http://page.example/", { init: watch }));
    assert.deepEqual(toQuire(plain), ["GET quire.example/widget.js"]);
    await widget.open();
    await widget.ask("How do I turn the key?");
    await widget.answered();
    await shiftOf(widget.page);
    const found = await widget.page.evaluate(() => window.tasks);
    const longest = 50 * (await slownessOf(widget.page));
    tasks = found.filter((duration) => duration > longest);
  }
  assert.deepEqual(tasks, []);
});

for (const name of SITES) {
  const used = useSite(name);
  afterEach(() => used.close());

  test(`${name}: one request until intent, and nothing moves`, async () => {
    let own = -1;
    let moved = { never: 0 };
    // A site may shift a little by itself, not at every load; a shift of the widget is always there.
    for (let tries = 0; tries < 3 && Object.values(moved).some((shift) => shift > own); tries++) {
      used.internet.fault((_, response) => response.writeHead(404).end());
      const { page: without } = await used.open("winding", { init: watch });
      await without.waitForLoadState("networkidle");
      own = await shiftOf(without);
      used.internet.fault(null);

      const widget = await load(used, () => used.open("winding", { init: watch }));
      const { page } = widget;
      assert.deepEqual(toQuire(used), ["GET quire.example/widget.js"]);
      moved = { loaded: await shiftOf(page) };
      await widget.open();
      moved.opened = await shiftOf(page);
      await page.keyboard.press("Escape");
      await widget.panel.waitFor({ state: "hidden" });
      moved.closed = await shiftOf(page);
    }
    for (const [when, shift] of Object.entries(moved)) assert.ok(shift <= own, `${when}: ${shift}, not ${own}`);
  });

  test(`${name}: the next page has room for an open panel before the app is loaded`, async () => {
    const widget = await used.open("winding", {
      init: () =>
        document.addEventListener("DOMContentLoaded", () => {
          window.room = parseFloat(getComputedStyle(document.documentElement).marginRight);
        }),
    });
    await widget.open();
    await widget.page.goto(used.address("faults"));
    await widget.panel.waitFor();
    const { width } = await widget.panel.boundingBox();
    assert.equal(Math.round(await widget.page.evaluate(() => window.room)), Math.round(width));
  });
}
