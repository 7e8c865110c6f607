// Quire's own page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { violations } from "./support/axe.mjs";
import { usePlainPage } from "./support/plain-page.mjs";

const used = usePlainPage();

for (const colorScheme of ["light", "dark"]) {
  test(`the page at / answers, without an error and without a violation: ${colorScheme}`, async () => {
    const widget = await used.open("http://quire.example/", { colorScheme });
    await widget.question.waitFor();
    assert.deepEqual(await violations(widget.page), []);
    await widget.ask("How do I turn the key?");
    await widget.text("The book says this.").waitFor();
    await widget.answered();
    assert.deepEqual(await violations(widget.page), []);
    assert.deepEqual(widget.page.errors, []);
  });
}
