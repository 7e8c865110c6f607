// The panel beside the page, the sheet over it, and what the page looks like meanwhile.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PAGE, usePlainPage } from "./support/plain-page.mjs";
import { luminance, strings, until } from "./support/widget.mjs";

const TEXT = Array.from({ length: 60 }, (_, n) => `<p id="p${n}">${`Paragraph ${n} of the page. `.repeat(12)}</p>`).join("");
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
const used = usePlainPage();

async function open(attributes = "", options = {}, html = TEXT) {
  used.internet.document(
    PAGE,
    `<!doctype html><html lang="en"><title>A page</title><meta name="viewport" content="width=device-width">
    <style>body { margin: 0 }</style><body>${html}<script src="http://quire.example/widget.js" ${attributes} defer></script>`,
  );
  return used.open(undefined, options);
}

/** Ask; the model's request. */
async function ask(widget, question) {
  const next = used.model.next();
  await widget.ask(question);
  return next;
}

const bodyBox = (page) => page.locator("body").boundingBox();

test("the page makes room and gets it back", async () => {
  const widget = await open();
  const { page } = widget;
  await widget.open();
  const panel = await widget.panel.boundingBox();
  const body = await bodyBox(page);
  assert.deepEqual([panel.y, panel.height], [0, 800]);
  assert.equal(panel.x + panel.width, 1280);
  assert.ok(Math.abs(body.x + body.width - panel.x) < 1);
  await page.emulateMedia({ media: "print" });
  assert.equal((await bodyBox(page)).width, 1280);
  await page.emulateMedia({ media: "screen" });
  await widget.button(strings.close).click();
  assert.equal((await bodyBox(page)).width, 1280);
});

test("position start is the other side", async () => {
  const widget = await open('data-position="start"');
  assert.ok((await widget.launcher.boundingBox()).x < 100);
  await widget.open();
  const panel = await widget.panel.boundingBox();
  assert.equal(panel.x, 0);
  assert.ok(Math.abs((await bodyBox(widget.page)).x - panel.width) < 1);
});

test("what a reader types is no shortcut of the page, whose own shortcuts work on", async () => {
  const widget = await open();
  const { page } = widget;
  await widget.open();
  await page.evaluate(() => {
    window.heard = [];
    for (const type of ["keydown", "keypress", "keyup"]) {
      document.addEventListener(type, ({ key }) => heard.push(key));
    }
  });
  const heard = () => page.evaluate(() => heard.splice(0).join(" "));
  await page.keyboard.type("/s?");
  await page.keyboard.press("ArrowLeft");
  await widget.element.locator("[part=conversation]").focus();
  for (const key of ["s", "ArrowRight", "Shift+ArrowLeft"]) await page.keyboard.press(key);
  assert.equal(await heard(), "");
  await page.keyboard.press("Control+k");
  assert.match(await heard(), /k/);
  await widget.button(strings.close).click();
  await page.keyboard.press("s");
  assert.match(await heard(), /s/);
});

test("what the reader looks at stays in place", async () => {
  const widget = await open();
  const { page } = widget;
  await widget.launcher.hover();
  await until(page, () => document.querySelector("quire-ask").shadowRoot.querySelector("dialog"));
  await page.evaluate(() => document.querySelector("#p30").scrollIntoView({ block: "start" }));
  await page.evaluate(() => scrollBy(0, -innerHeight / 3 + 10));
  const top = () => page.evaluate(() => document.querySelector("#p30").getBoundingClientRect().top);
  const before = await top();
  await page.keyboard.press("Control+i");
  await widget.panel.waitFor();
  assert.ok(Math.abs((await top()) - before) < 2);
  await page.keyboard.press("Escape");
  await widget.panel.waitFor({ state: "hidden" });
  assert.ok(Math.abs((await top()) - before) < 2);
});

test("a resize changes the panel to a sheet and back, with the answer and the draft", async () => {
  const widget = await open();
  const { page } = widget;
  await widget.open();
  const request = await ask(widget, "How do I wind it?");
  request.say("With the ");
  await widget.question.fill("And how");
  const isModal = () => widget.panel.evaluate((dialog) => dialog.matches(":modal"));
  assert.equal(await isModal(), false);
  await page.setViewportSize({ width: 700, height: 800 });
  await until(page, () => document.querySelector("quire-ask").shadowRoot.querySelector("dialog:modal"));
  assert.equal((await bodyBox(page)).width, 700);
  request.say("key.");
  request.finish();
  await widget.text("With the key.").waitFor();
  assert.equal(await widget.question.inputValue(), "And how");
  await page.setViewportSize({ width: 1280, height: 800 });
  await until(page, () => !document.querySelector("quire-ask").shadowRoot.querySelector("dialog:modal"));
  await widget.text("With the key.").waitFor();
  await until(page, () => document.activeElement.shadowRoot?.activeElement?.matches("textarea"));
});

for (const [title, close] of [
  ["its button", (widget) => widget.button(strings.close).click()],
  ["a tap beside it", ({ page }) => page.touchscreen.tap(195, 40)],
  ["Escape", ({ page }) => page.keyboard.press("Escape")],
  [
    "a swipe",
    async ({ page }) => {
      // Playwright has no touch that moves.
      await page.mouse.move(150, 150);
      await page.mouse.down();
      await page.mouse.move(150, 200);
      await page.mouse.move(150, 300);
      await page.mouse.up();
    },
  ],
]) {
  test(`${title} closes the sheet`, async () => {
    const widget = await open("", PHONE);
    await widget.open();
    const { y, height } = await widget.panel.boundingBox();
    assert.equal(Math.round(y + height), 844);
    assert.ok(Math.abs(height - 0.85 * 844) < 2);
    await close(widget);
    await widget.panel.waitFor({ state: "hidden" });
    await widget.launcher.waitFor();
    assert.deepEqual(widget.page.errors, []);
  });
}

test("a panel that was open does not cover a narrow window on the next page", async () => {
  const widget = await open();
  const { page } = widget;
  await widget.open();
  await page.goto("about:blank");
  await page.setViewportSize({ width: 600, height: 800 });
  await page.goto(`http://${PAGE}/`);
  await page.waitForLoadState("networkidle");
  assert.equal(await widget.panel.isVisible(), false);
  await widget.launcher.waitFor();
});

test("at 400 % of a usual window, half of it is the conversation's", async () => {
  const widget = await open("", { viewport: { width: 320, height: 256 } });
  await widget.open();
  const { height } = await widget.element.locator("[part=conversation]").boundingBox();
  assert.ok(height >= 128, `${height} px`);
});

test("a short swipe does not close it", async () => {
  const widget = await open("", PHONE);
  const { page } = widget;
  await widget.open();
  await page.mouse.move(150, 150);
  await page.mouse.down();
  await page.mouse.move(150, 180);
  await page.mouse.up();
  assert.equal(await widget.panel.evaluate((dialog) => dialog.open && dialog.style.transform), "");
});

test("an answer is followed until its question is at the top, and only while the reader is at the end", async () => {
  const widget = await open();
  const { page } = widget;
  await widget.open();
  const scroller = widget.element.getByRole("region", { name: strings.conversation });
  const position = () => scroller.evaluate(({ scrollTop, scrollHeight, clientHeight }) => [scrollTop, scrollHeight - clientHeight]);
  const first = await ask(widget, "How do I turn the key?");
  first.say("A line of the first answer.\n\n".repeat(30));
  first.finish();
  await widget.answered();
  const second = await ask(widget, "And to the right?");
  second.say("A line of the second answer.\n\n".repeat(4));
  await widget.text("A line of the second answer.").waitFor();
  await until(page, () => {
    const { scrollTop, scrollHeight, clientHeight } = document.querySelector("quire-ask").shadowRoot.querySelector(".conversation");
    return scrollHeight - clientHeight - scrollTop < 2;
  });
  second.say("A line of the second answer.\n\n".repeat(60));
  second.say("Its last line.");
  await widget.element.getByText("Its last line.").waitFor({ state: "attached" });
  const question = widget.element.getByText("And to the right?");
  const top = async () => (await question.boundingBox()).y - (await scroller.boundingBox()).y;
  assert.ok((await top()) >= 0 && (await top()) < 40, `the question is at ${await top()}`);
  // The reader goes back: nothing moves any more.
  await scroller.evaluate((element) => (element.scrollTop = 100));
  second.say("\n\nMore.\n\n".repeat(10));
  second.finish();
  await widget.answered();
  assert.equal((await position())[0], 100);
});

test("nothing is animated for a reader who wants less motion", async () => {
  const widget = await open("", { reducedMotion: "no-preference" });
  await widget.launcher.hover();
  // Counted in the page, because an animation is over before a slow machine asks for it.
  const animations = () => widget.page.evaluate(async () => {
    const element = document.querySelector("quire-ask");
    element.open();
    const dialog = element.shadowRoot.querySelector("dialog");
    while (!dialog.open) await new Promise(requestAnimationFrame);
    return element.shadowRoot.getAnimations().length;
  });
  await until(widget.page, () => document.querySelector("quire-ask").shadowRoot.querySelector("dialog"));
  assert.equal(await animations(), 1);
  await widget.button(strings.close).click();
  await widget.page.emulateMedia({ reducedMotion: "reduce" });
  assert.equal(await animations(), 0);
});

const SCHEMES = [
  ["Furo", "", 'data-theme="dark"', "light", "dark"],
  ["Furo, auto", "", 'data-theme="auto"', "dark", "dark"],
  ["PaperMod", "", 'class="dark"', "light", "dark"],
  ["nothing, system light", "", "", "light", "light"],
  ["nothing, system dark", "", "", "dark", "dark"],
  ["Docusaurus, light", 'data-theme="light"', "", "dark", "light"],
  ["Docusaurus, dark", 'data-theme="dark"', "", "light", "dark"],
  ["Material, slate", "", 'data-md-color-scheme="slate"', "light", "dark"],
  ["Material, default", "", 'data-md-color-scheme="default"', "dark", "light"],
  ["VitePress, dark", 'class="dark"', "", "light", "dark"],
  ["mdBook, navy", 'class="navy sidebar-visible js"', "", "light", "dark"],
  ["mdBook, rust", 'class="rust js"', "", "dark", "light"],
  ["a class that only sounds so", 'class="no-dark-mode"', "", "light", "light"],
];

test("follows what the page says, live, and else the system", async () => {
  const dark = (widget) =>
    widget.launcher.evaluate((button) => getComputedStyle(button).color !== "rgb(255, 255, 255)");
  for (const [title, html, body, system, wanted] of SCHEMES) {
    used.internet.document(
      PAGE,
      `<!doctype html><html ${html}><title>A page</title><body ${body}><script src="http://quire.example/widget.js" defer></script>`,
    );
    const widget = await used.open(undefined, { colorScheme: system });
    assert.equal(await dark(widget), wanted === "dark", title);
  }
  const widget = await open('data-theme="dark"', { colorScheme: "light" });
  assert.equal(await dark(widget), true, "the author's choice");
  const live = await open("", { colorScheme: "light" });
  assert.equal(await dark(live), false);
  await live.page.evaluate(() => (document.documentElement.dataset.theme = "dark"));
  assert.equal(await dark(live), true, "the page's switch");
  await live.page.evaluate(() => delete document.documentElement.dataset.theme);
  await live.page.emulateMedia({ colorScheme: "dark" });
  assert.equal(await dark(live), true, "the system's switch");
});

test("in a page that stays light, mode inline can be read where the system is dark", async () => {
  const widget = await open("", { colorScheme: "dark" }, "<quire-ask mode='inline'></quire-ask>");
  await widget.question.waitFor();
  assert.ok((await luminance(widget.element.locator(".frame"))) < 0.1);
});

test("the author's custom properties and parts are used", async () => {
  const widget = await open(
    "",
    {},
    `<style>quire-ask { --quire-accent: rgb(0, 80, 40); --quire-font: monospace } :root { --quire-width: 350px }
    quire-ask::part(button) { border-radius: 0 }</style><p>Text`,
  );
  const { backgroundColor, borderRadius, fontFamily } = await widget.launcher.evaluate((button) => {
    const { backgroundColor, borderRadius, fontFamily } = getComputedStyle(button);
    return { backgroundColor, borderRadius, fontFamily };
  });
  assert.deepEqual([backgroundColor, borderRadius, fontFamily], ["rgb(0, 80, 40)", "0px", "monospace"]);
  await widget.open();
  assert.equal((await widget.panel.boundingBox()).width, 350);
});
