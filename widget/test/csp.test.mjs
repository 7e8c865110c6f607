// A page with a strict Content-Security-Policy: the handbook's two additions are enough.

import assert from "node:assert/strict";
import { test } from "node:test";
import { usePlainPage } from "./support/plain-page.mjs";
import { luminance, strings } from "./support/widget.mjs";

const used = usePlainPage({
  headers: {
    "Content-Security-Policy":
      "default-src 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; " +
      "script-src http://quire.example; connect-src http://quire.example",
  },
});

test("no error under default-src 'none' and Quire as script-src and connect-src", async () => {
  const widget = await used.open(undefined, { colorScheme: "dark" });
  const { page } = widget;
  await widget.open();
  assert.ok((await luminance(widget.panel)) < 0.1, "the style sheets apply");
  await widget.question.pressSequentially("spring");
  await widget.element.getByRole("option").first().waitFor();
  const next = used.model.next();
  await widget.ask("How do I turn the key?");
  const request = await next;
  request.say(`Eleven half turns. ${request.cite("eleven half turns")}\n\n`);
  request.say("| a | b |\n| --- | :-: |\n| 1 | 2 |\n\n```bash\ntideclock set\n```\n");
  request.finish();
  await widget.answered();
  await widget.button(strings.copyCode).click();
  await widget.button(strings.helpful).click();
  await widget.text(strings.thanks).waitFor();
  await widget.button(strings.newConversation).click();
  await widget.button(strings.close).click();
  await page.setViewportSize({ width: 390, height: 844 });
  await widget.open();
  assert.deepEqual(page.errors, []);
});
