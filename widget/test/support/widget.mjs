// The widget as a reader sees it: roles, names and text.

import assert from "node:assert/strict";
import strings from "../../src/locales/en.ts";

export { strings };

export class Widget {
  constructor(page, words = strings) {
    this.page = page;
    this.strings = words;
    this.element = page.locator("quire-ask");
    this.launcher = this.element.locator("[part=button]");
    this.panel = this.element.getByRole("dialog");
    this.question = this.element.getByRole("textbox", { name: words.question });
    this.status = this.element.getByRole("status");
  }

  button(name) {
    return this.element.getByRole("button", { name, exact: true });
  }

  link(name) {
    return this.element.getByRole("link", { name });
  }

  text(text) {
    return this.element.getByText(text).first();
  }

  async open() {
    await this.launcher.click();
    await this.question.waitFor();
  }

  async ask(question) {
    await this.question.fill(question);
    await this.question.press("Enter");
  }

  /** Wait until the last answer is complete: it can be voted on, or asked again. */
  async answered() {
    await this.button(this.strings.send).waitFor();
    await this.button(this.strings.retry).last().waitFor();
  }
}

/** The passage of the page that is highlighted. */
export function highlighted(page) {
  return page.waitForFunction(() => {
    const ranges = [...CSS.highlights.values()].flatMap((highlight) => [...highlight]);
    return ranges.map(String).join("") || undefined;
  });
}

/** Wait for a condition in the page; the message says what did not happen. */
export async function until(page, condition, argument) {
  await page.waitForFunction(condition, argument).catch((error) => {
    throw new Error(`This did not become true: ${condition}\n${error.message}`);
  });
}

/** Relative luminance (0 black, 1 white) of an element's background. */
export async function luminance(locator) {
  const colour = await locator.evaluate((element) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = getComputedStyle(element).backgroundColor;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  });
  assert.equal(colour[3], 255, "the background is opaque");
  const [r, g, b] = colour.map((c) => (c / 255 <= 0.04 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
