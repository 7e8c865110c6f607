// Every view of the page at /admin, with whatever a reader may have written.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { test } from "node:test";
import { HOSTILE, LONG, LOOKS, fillLog, go, isAsWideAsItsWindow, loaded, opened, question, useAdmin } from "./support/admin.mjs";
import { violations } from "./support/axe.mjs";

const VIEWS = ["overview", "questions", "gaps", "pages", "report"];
/** A folder for a picture of every view. */
const { SHOTS } = process.env;
if (SHOTS) await mkdir(SHOTS, { recursive: true });

const used = useAdmin({ fill: fillLog });

for (const [look, options] of Object.entries(LOOKS)) {
  for (const view of VIEWS) {
    test(`${view}, ${look}: no violation, no error, as wide as its window`, async () => {
      const page = await used.view(view, options);
      for (const summary of (await page.locator("main summary").all()).slice(0, 12)) await summary.click();
      assert.equal(await page.getByText("Try again").count(), 0, await page.locator("main").innerText());
      assert.deepEqual(await violations(page), []);
      assert.ok(await isAsWideAsItsWindow(page));
      if (SHOTS) {
        const clip = { x: 0, y: 0, width: page.viewportSize().width, height: 1_800 };
        await page.screenshot({ path: `${SHOTS}/${view}-${look}.png`, fullPage: true, clip });
      }
    });
  }
}

test("what a target needs: at least 24 pixels, except links in a line of text", async () => {
  for (const view of ["overview", "questions", "gaps", "pages"]) {
    const page = await used.view(view, LOOKS.phone);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll("button, select, input, summary, nav a")]
        .filter((each) => each.checkVisibility())
        .filter((each) => each.getBoundingClientRect().height < 24)
        .map((each) => each.outerHTML),
    );
    assert.deepEqual(small, []);
  }
});

for (const [look, options] of Object.entries(LOOKS).filter(([look]) => look !== "dark")) {
  test(`hostile questions are text: ${look}`, async () => {
    const page = await used.view("questions", options);
    for (const text of [...Object.values(HOSTILE), LONG.trim()]) {
      await page.getByLabel("Words in the question").fill(text.split(/\s/)[0].slice(0, 200));
      await page.getByRole("button", { name: "Search" }).click();
      await loaded(page);
      const found = page.locator("details.question").filter({ hasText: text.slice(0, 500) }).first();
      const closed = await found.boundingBox();
      assert.ok(closed.height < 200, `${text.slice(0, 20)} is clipped: ${closed.height}`);
      await found.locator("summary").click();
      assert.equal((await found.locator("summary bdi").textContent()).trim(), text.trim());
      const whole = await found.locator("summary bdi").evaluate((each) => each.scrollHeight <= each.clientHeight + 1);
      assert.ok(whole || text === HOSTILE["combining marks"], "all of it is shown");
      assert.ok(await isAsWideAsItsWindow(page));
    }
    await page.getByRole("button", { name: "Clear" }).click();
    await loaded(page);
    const voted = await opened(page, "Why does the clock stop");
    assert.match(await voted.innerText(), /Which brush\? <img src=/);
    await go(page, "Gaps");
    for (const summary of await page.locator("main summary").all()) await summary.click();
    await page.getByText(HOSTILE["a formula"]).first().waitFor();
    assert.ok(await isAsWideAsItsWindow(page));
    assert.equal(await page.evaluate(() => window.hurt), undefined);
    assert.equal(await page.locator("main img, main script, main b").count(), 0);
  });
}

test("direction overrides reverse nothing after them", async () => {
  const page = await used.view("questions");
  const found = question(page, "the end");
  const order = await found.evaluate((details) => {
    const boxes = [...details.querySelectorAll(".meta > *")].map((each) => each.getBoundingClientRect().left);
    return boxes.every((left, at) => !at || left > boxes[at - 1]);
  });
  assert.ok(order);
  const { direction, unicodeBidi } = await found.locator("bdi").evaluate((each) => {
    const { direction, unicodeBidi } = getComputedStyle(each);
    return { direction, unicodeBidi };
  });
  assert.equal(direction, "ltr");
  assert.match(unicodeBidi, /isolate|plaintext/);
});
