// <quire-ask> in pages of all kinds: where the script stands, who opens it, what a router does to it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PAGE, usePlainPage } from "./support/plain-page.mjs";
import { strings, until } from "./support/widget.mjs";

const SCRIPT = "http://quire.example/widget.js";
const used = usePlainPage();

/** Open a page of exactly this HTML. */
async function open(html, options) {
  used.internet.document(PAGE, `<!doctype html><title>A page</title>${html}`);
  return used.open(undefined, options);
}

const appRequests = () => used.internet.requests().filter((line) => /app-/.test(line)).length;

for (const [title, html] of [
  ["deferred in <head>", `<head><script src="${SCRIPT}" defer></script></head><body><p>Text`],
  ["async in <head>", `<head><script src="${SCRIPT}" async></script></head><body><p>Text`],
  ["in <head>, before there is a <body>", `<head><script src="${SCRIPT}"></script></head><body><p>Text`],
  ["at the end of <body>", `<body><p>Text<script src="${SCRIPT}"></script>`],
  ["as a module", `<body><p>Text<script src="${SCRIPT}" type="module"></script>`],
  ["twice", `<head><script src="${SCRIPT}" defer></script><script src="${SCRIPT}" defer></script></head><body>`],
  ["before the author's own element", `<body><script src="${SCRIPT}"></script><p>Text<quire-ask></quire-ask>`],
]) {
  test(`a script ${title} gives one button, which opens the panel`, async () => {
    const widget = await open(html);
    await widget.launcher.waitFor();
    assert.equal(await widget.element.count(), 1);
    await widget.open();
    assert.deepEqual(widget.page.errors, []);
  });
}

test("of several elements one has the button, and each of them opens it", async () => {
  const widget = await open(
    `<body><quire-ask></quire-ask><quire-ask></quire-ask><script src="${SCRIPT}" defer></script>`,
  );
  await widget.launcher.waitFor();
  assert.equal(await widget.launcher.count(), 1);
  await widget.page.evaluate(() => document.querySelectorAll("quire-ask")[1].open());
  await widget.panel.waitFor();
});

test("the script's options are those of the element; an attribute of the element counts more", async () => {
  const widget = await open(
    `<body><script src="${SCRIPT}" data-label="Frag das Buch" data-lang="de" defer></script>`,
  );
  assert.equal((await widget.launcher.textContent()).trim(), "Frag das Buch");
  const own = await open(
    `<body><quire-ask label="Ask away"></quire-ask><script src="${SCRIPT}" data-label="Ask" defer></script>`,
  );
  assert.equal((await own.launcher.textContent()).trim(), "Ask away");
});

test("the button's text is in the page's language, else in English", async () => {
  for (const [lang, text] of [["pt-BR", "Perguntar"], ["zh_TW", "提问"], ["nl", "Ask"], ["", "Ask"]]) {
    const widget = await open(`<html lang="${lang}"><body><script src="${SCRIPT}" defer></script>`);
    assert.equal((await widget.launcher.textContent()).trim(), text);
  }
});

test("a language that does not arrive leaves the panel in English", async () => {
  const widget = await open(`<html lang="de"><body><script src="${SCRIPT}" defer></script>`);
  const { page } = widget;
  await page.clock.install();
  const requested = page.waitForRequest(/widget\/de-/);
  await page.route(/widget\/de-/, () => {}); // never answered
  await widget.launcher.click();
  await requested;
  await page.clock.fastForward(5_000);
  await page.getByPlaceholder(strings.placeholder).waitFor();
});

test("mode none: triggers of the author open the panel, also those that come later", async () => {
  const widget = await open(
    `<body><script src="${SCRIPT}" data-mode="none" defer></script><a href="/other" data-quire-open>Help</a>`,
  );
  const { page } = widget;
  assert.equal(await widget.launcher.count(), 0);
  await page.getByText("Help").click();
  await widget.question.waitFor();
  assert.equal(new URL(page.url()).pathname, "/");
  await page.keyboard.press("Escape");
  await widget.panel.waitFor({ state: "hidden" });
  await page.evaluate(() => {
    document.body.insertAdjacentHTML("beforeend", '<p data-quire-open="How do I wind it?"><b>Later</b></p>');
  });
  const next = used.model.next();
  await page.getByText("Later").click();
  assert.equal((await next).question, "How do I wind it?");
});

test("an element of a comment is not taken for the script, whose host code is loaded from", async () => {
  for (const html of [
    `<img name="currentScript" src="http://evil.example/widget.js"><script src="${SCRIPT}"></script>`,
    `<img src="http://evil.example/widget.js"><script src="${SCRIPT}" type="module"></script>`,
  ]) {
    const widget = await open(`<body>${html}`);
    await widget.open();
    const requests = used.internet.requests().filter((line) => line.includes("evil.example/widget/"));
    assert.deepEqual(requests, []);
  }
});

test("a click that comes before the app opens the panel once", async () => {
  const widget = await open(`<body><script src="${SCRIPT}" defer></script>`);
  let arrive;
  const arrived = new Promise((resolve) => (arrive = resolve));
  used.internet.fault(async (request) => {
    if (request.url.includes("/app-")) await arrived;
  });
  used.internet.forget();
  await widget.launcher.click();
  await widget.launcher.click();
  arrive();
  await widget.question.waitFor();
  assert.equal(appRequests(), 1);
});

test("an app that cannot be loaded is marked on the button and loaded at the next intent", async () => {
  const widget = await open(`<body><script src="${SCRIPT}" defer></script>`);
  used.internet.fault((request, response) => {
    if (!request.url.includes("/app-")) return false;
    response.destroy();
    return true;
  });
  await widget.launcher.click();
  await widget.launcher.getByText("⚠").waitFor();
  used.internet.fault(null);
  await widget.launcher.click();
  await widget.question.waitFor();
  await widget.button(strings.close).click();
  assert.equal((await widget.launcher.textContent()).trim(), "Ask");
});

test("a pointer over the button asks a broken host once, a click each time", async () => {
  const widget = await open(`<body><script src="${SCRIPT}" defer></script>`);
  used.internet.fault((request, response) => {
    if (!request.url.includes("/app-")) return false;
    response.destroy();
    return true;
  });
  used.internet.forget();
  await widget.launcher.hover();
  await widget.launcher.getByText("⚠").waitFor();
  for (let moves = 0; moves < 5; moves++) {
    await widget.page.mouse.move(10, 10);
    await widget.launcher.hover();
  }
  await widget.launcher.click();
  await until(widget.page, () => performance.getEntriesByType("resource").filter(({ name }) => /app-/.test(name)).length > 1);
  assert.equal(appRequests(), 2);
  assert.equal((await widget.launcher.textContent()).trim(), "Ask ⚠");
});

test("a router that replaces <body> keeps the panel, the conversation and the running answer", async () => {
  const widget = await open(`<body><p>Old</p><script src="${SCRIPT}" defer></script>`);
  const { page } = widget;
  await widget.open();
  const next = used.model.next();
  await widget.ask("How do I wind it?");
  const request = await next;
  request.say("With the ");
  await widget.text("With the").waitFor();
  await page.evaluate((script) => {
    const body = document.createElement("body");
    body.innerHTML = "<p>New</p><quire-ask></quire-ask>";
    const again = document.createElement("script");
    again.src = script;
    body.append(again);
    document.body.replaceWith(body);
  }, SCRIPT);
  await page.getByText("New").waitFor();
  request.say("key.");
  request.finish();
  await widget.text("With the key.").waitFor();
  assert.equal(await widget.panel.isVisible(), true);
  // The one that the new page brought has nothing to show.
  assert.equal(await widget.element.locator("textarea").count(), 1);
  assert.deepEqual(page.errors, []);
});

test("a sheet that was open stays a modal sheet in a new <body>", async () => {
  const widget = await open(`<body><p>Old</p><script src="${SCRIPT}" defer></script>`, {
    viewport: { width: 390, height: 844 },
  });
  await widget.open();
  await widget.page.evaluate(() => document.body.replaceWith(document.createElement("body")));
  await until(widget.page, () =>
    document.querySelector("quire-ask")?.shadowRoot.querySelector("dialog").matches(":modal"),
  );
});

test("the shortcut is the author's, and is left to a field if it has no modifier", async () => {
  const widget = await open(
    `<body><input id="field"><p>Text</p><script src="${SCRIPT}" data-shortcut="/" defer></script>`,
  );
  const { page } = widget;
  await widget.launcher.waitFor();
  await page.locator("#field").focus();
  await page.keyboard.press("/");
  assert.equal(await page.locator("#field").inputValue(), "/");
  await page.keyboard.press("Control+/");
  assert.equal(await widget.panel.count(), 0);
  await page.locator("#field").blur();
  await page.keyboard.press("/");
  await widget.question.waitFor();
  await until(page, () => document.activeElement.shadowRoot?.activeElement?.matches("textarea"));
  assert.equal(await widget.question.inputValue(), "");
});

test("Ctrl+I works in a field of the page and on a keyboard without Latin letters", async () => {
  const widget = await open(`<body><input id="field"><script src="${SCRIPT}" defer></script>`);
  const { page } = widget;
  await widget.launcher.waitFor();
  await page.locator("#field").focus();
  await page.keyboard.press("Control+i");
  await widget.question.waitFor();
  // Pressed inside, it closes and gives the focus back.
  await page.keyboard.press("Control+i");
  await widget.panel.waitFor({ state: "hidden" });
  await until(page, () => document.activeElement.id === "field");
  await page.evaluate(() => {
    const pressed = { key: "ш", code: "KeyI", ctrlKey: true, bubbles: true };
    document.body.dispatchEvent(new KeyboardEvent("keydown", pressed));
  });
  await widget.panel.waitFor();
});

test("mode inline stands in the page and is loaded once it is in view", async () => {
  const html = (before) =>
    `<body><div style="height: ${before}px"></div><quire-ask mode="inline"></quire-ask><script src="${SCRIPT}" defer></script>`;
  used.internet.forget();
  const below = await open(html(3000));
  await below.page.waitForLoadState("networkidle");
  assert.equal(appRequests(), 0);
  await below.element.scrollIntoViewIfNeeded().catch(() => {});
  await below.page.evaluate(() => scrollTo(0, 3000));
  await below.question.waitFor();
  assert.equal(await below.panel.count(), 0);
  const next = used.model.next();
  await below.ask("How do I wind it?");
  (await next).finish();
});

test("mode panel is open from the start on a wide window, until the reader closes it", async () => {
  const html = `<body><script src="${SCRIPT}" data-mode="panel" defer></script>`;
  const widget = await open(html);
  await widget.panel.waitFor();
  await until(widget.page, () => document.activeElement === document.body);
  await widget.button(strings.close).click();
  await widget.page.reload();
  await widget.launcher.waitFor();
  await widget.page.waitForLoadState("networkidle");
  assert.equal(await widget.panel.isVisible(), false);
  const narrow = await open(html, { viewport: { width: 600, height: 800 } });
  await narrow.page.waitForLoadState("networkidle");
  assert.equal(await narrow.panel.count(), 0);
});

test("a page without the button has no room for a panel that was open on the page before", async () => {
  const widget = await open(`<style>body { margin: 0 }</style><body><script src="${SCRIPT}" defer></script>`);
  const { page } = widget;
  await widget.open();
  used.internet.document(
    PAGE,
    `<!doctype html><title>A page</title><style>body { margin: 0 }</style><quire-ask mode="inline"></quire-ask><script src="${SCRIPT}" defer></script>`,
  );
  await page.goto(`http://${PAGE}/inline`);
  await widget.question.waitFor();
  assert.equal((await page.locator("body").boundingBox()).width, 1280);
});

test("selected text loads the app, which offers to ask about it", async () => {
  const widget = await open(`<body><p>A full spring drives the clock.</p><script src="${SCRIPT}" defer></script>`);
  await widget.launcher.waitFor();
  used.internet.forget();
  await widget.page.getByText("A full spring").click({ clickCount: 3 });
  await widget.button(strings.askSelection).click();
  await widget.text(strings.aboutSelection).waitFor();
  await widget.text("A full spring drives the clock.").waitFor();
  assert.equal(appRequests(), 1);
});

test("events tell the author's own code", async () => {
  const widget = await open(`<body><script src="${SCRIPT}" defer></script>`);
  await widget.page.evaluate(() => {
    window.heard = [];
    for (const name of ["quire-open", "quire-ask", "quire-close"]) {
      addEventListener(name, ({ type, detail }) => heard.push([type, detail?.question]));
    }
  });
  await widget.open();
  await widget.ask("How do I wind it?");
  await widget.answered();
  await widget.button(strings.close).click();
  assert.deepEqual(await widget.page.evaluate(() => heard), [
    ["quire-open", undefined],
    ["quire-ask", "How do I wind it?"],
    ["quire-close", undefined],
  ]);
});

test("style sheets of the page change nothing inside, and nothing leaks out", async () => {
  const widget = await open(
    `<head><style>
      * { letter-spacing: 9px !important; text-transform: uppercase; line-height: 4; color: red; }
      button, textarea, dialog, h2 { display: none !important; font-size: 60px; }
    </style></head><body><script src="${SCRIPT}" defer></script><p>Text</p>`,
  );
  await widget.open();
  const { letterSpacing, textTransform, color } = await widget.question.evaluate((field) => {
    const { letterSpacing, textTransform, color } = getComputedStyle(field);
    return { letterSpacing, textTransform, color };
  });
  assert.deepEqual([letterSpacing, textTransform], ["normal", "none"]);
  assert.notEqual(color, "rgb(255, 0, 0)");
  const names = await widget.page.evaluate(() => {
    const frame = document.createElement("iframe");
    document.body.append(frame);
    return Object.keys(window).filter((name) => name !== "0" && !(name in frame.contentWindow));
  });
  assert.deepEqual(names, []);
});
