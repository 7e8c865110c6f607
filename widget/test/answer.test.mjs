// Answers in a real page.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { startBrowser } from "./support/browser.mjs";
import { openParts } from "./support/parts.mjs";
import { HOSTILE, RICH, randomTexts, splitAtRandom } from "./support/texts.mjs";

const BOOK = "https://book.example/docs/run#ports";
const EXPORTS = `
  export * from "./addresses.ts";
  export * from "./answer.ts";
  export * from "./markdown.ts";
  export { resolveAddress } from "./navigation.ts";
  export { default as strings } from "./locales/en.ts";
  export { default as loaderCss } from "./loader.css";
  export { default as themeCss } from "./theme.css";
  export { default as answerCss } from "./answer.css";
`;

let browser;
let page;

before(async () => {
  browser = await startBrowser({ port: 9 });
  page = await openParts(browser, EXPORTS);
  await page.evaluate(() => {
    /** The number of a citation as a chip, without what TurnView adds. */
    window.chip = ({ marker }, marked) => {
      const chip = document.createElement("b");
      chip.textContent = marker;
      chip.title = marked ?? "";
      return chip;
    };
    window.resolve = (url) => parts.resolveAddress(url, { host: "https://quire.example", local_pages: "/book/" });
    /** The elements of an answer. `steps`: parts of the text, and numbers of citations. */
    window.render = async (steps) => {
      const root = document.createElement("div");
      const options = { strings: parts.strings, level: 3, resolve, chip };
      const renderer = new parts.AnswerRenderer(root, options);
      for (const step of steps) {
        if (typeof step === "number") renderer.cite({ marker: step });
        else renderer.write(step);
      }
      renderer.end();
      await renderer.complete;
      return root;
    };
    const host = document.body.appendChild(document.createElement("quire-ask"));
    const root = host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(parts.loaderCss + parts.themeCss + parts.answerCss);
    root.adoptedStyleSheets = [sheet];
    const box = root.appendChild(document.createElement("div"));
    box.className = "quire";
    const list = box.appendChild(document.createElement("div"));
    list.className = "turns";
    window.calls = [];
    const call = (name) => (...args) => void calls.push([name, ...args]);
    window.context = {
      element: host,
      root,
      strings: parts.strings,
      resolve,
      open: call("open"),
      ask: call("ask"),
      retry: (turn) => calls.push(["retry", turn.id]),
      announce: call("announce"),
      vote: async (turn, ...vote) => {
        calls.push(["vote", turn.id, ...vote]);
        return window.counts;
      },
    };
    window.counts = true;
    window.show = (turn) => {
      calls.length = 0;
      const view = new parts.TurnView({ id: "1", question: "Why?", answer: "", citations: [], state: "waiting", ...turn }, context);
      list.replaceChildren(view.element);
      window.view = view;
    };
  });
});

after(() => browser.close());

const html = (...steps) => page.evaluate(async (steps) => (await render(steps)).innerHTML, steps);
const show = (turn) => page.evaluate((turn) => show(turn), turn);
const calls = () => page.evaluate(() => calls);
const citation = (marker, source = {}) => ({
  marker,
  text: `Excerpt ${marker}.`,
  source: { chapter: "Running", section: "Running", heading: "Ports", file_path: "run.md", url: BOOK, ...source },
});
const done = (more = {}) => ({ finish_reason: "stop", mode: "generated", answer_id: "id", ...more });

test("the page is the same however the text is split, and whenever the citations arrive", async () => {
  for (const text of [...randomTexts(150, 4), ...Object.values(HOSTILE).map((each) => each.slice(0, 2_500))]) {
    const expected = await html(text, 1, 2);
    assert.equal(await html(1, 2, ...text.split("")), expected, JSON.stringify(text));
    const parts = splitAtRandom(text, 30);
    assert.equal(await html(...parts.slice(0, 3), 2, ...parts.slice(3), 1), expected, JSON.stringify(text));
  }
});

const HARMLESS = new Set(
  "A B BLOCKQUOTE BR BUTTON CODE DIV EM H4 H5 H6 HR LI OL P PRE S SPAN STRONG TABLE TBODY TD TH THEAD TR UL".split(" "),
);
const ATTRIBUTES = new Set("class dir href rel scope start tabindex title type".split(" "));

const ATTACKS = [
  "<script>window.hacked = 1</script><img src=https://evil.example/i.png onerror=hacked=1><svg onload=hacked=1>",
  "![a](https://evil.example/i.png) ![][1] [![b](https://evil.example/j.png)](https://evil.example/k)",
  "[a](javascript:hacked=1) [b](JaVaScRiPt:hacked=1) [c](java\nscript:hacked=1) [d](java\tscript:hacked=1)",
  "[a](\u0001javascript:hacked=1) [b](javascript&colon;hacked=1) [c](&#106;avascript:hacked=1) [d](java\\script:x)",
  "[a](data:text/html,<script>hacked=1</script>) [b](vbscript:x) [c](blob:x) [d](file:///etc) [e](view-source:x)",
  "[a](//evil.example) [b](\\\\\\\\evil.example) [c](/\\\\evil.example) [d](https:evil.example) [e](\\\\/evil.example)",
  "[a](https://user@evil.example) [b](https://user:word@evil.example) [c](https://book.example@evil.example)",
  "<https://evil.example/x onclick=hacked=1> <javascript:hacked=1> [a](<javascript:hacked=1>)",
  '[a](https://a.example "onclick=hacked=1") [a](https://a.example/"onclick="hacked=1) `<b onclick=hacked=1>`',
  '```<img src=x onerror=hacked=1>\n```\n```js" onload="hacked=1\n</code><script>hacked=1</script>\n```',
  "[1](javascript:hacked=1) [2](https://evil.example) [3]\n\n# [1](data:x)\n\n|[2](vbscript:x)|\n|-|",
  "\u202e\u2066txet\u202d [a](https://a.example/\u202egnp.exe)\n\nnext",
  "<style>*{display:none}</style><base href=https://evil.example><iframe src=https://evil.example></iframe><form><input>",
  "1. ".repeat(60) + "> ".repeat(60) + "**".repeat(60) + "x",
];

const hostile = Object.entries(HOSTILE).map(([name, text]) => [name, text.slice(0, 20_000)]);
for (const [name, text] of [...ATTACKS.map((text) => [JSON.stringify(text.slice(0, 40)), text]), ...hostile]) {
  test(`nothing but text and safe links: ${name}`, async () => {
    page.requests.length = 0;
    const found = await page.evaluate(async (text) => {
      const root = await render([2, ...text.match(/[^]{1,50}/g)]);
      document.body.append(root);
      const elements = [...root.querySelectorAll("*")].map((each) => ({
        name: each.tagName,
        attributes: each.getAttributeNames(),
        href: each.href,
        depth: (function depth(node) {
          return node === root ? 0 : 1 + depth(node.parentNode);
        })(each),
      }));
      for (const link of root.querySelectorAll("button, b")) link.click();
      await new Promise((resolve) => setTimeout(resolve));
      root.remove();
      return { elements, hacked: window.hacked, address: location.href };
    }, text);
    for (const { name, attributes, href, depth } of found.elements) {
      assert.ok(HARMLESS.has(name), name);
      for (const each of attributes) assert.ok(ATTRIBUTES.has(each), each);
      assert.ok(depth <= 50);
      if (href === undefined) continue;
      const { protocol, username, password, hostname } = new URL(href);
      assert.match(protocol, /^(https?|mailto):$/);
      assert.equal(username + password, "");
      assert.ok(hostname !== "evil.example" || text.includes(`](https://evil.example/k)`) || text.includes("<https://evil"), href);
    }
    assert.equal(found.hacked, undefined);
    assert.equal(found.address, "http://page.example/docs/");
    assert.deepEqual(page.requests, []);
    assert.deepEqual(page.errors, []);
  });
}

const ADDRESSES = {
  "https://a.example/b?c#d": "https://a.example/b?c#d",
  "HTTP://A.example": "http://a.example/",
  "mailto:a@b.example": "mailto:a@b.example",
  "#a": "http://page.example/docs/#a",
  "b/c": "http://page.example/docs/b/c",
  "/b": "http://page.example/b",
  "": null,
  "//evil.example": null,
  "\\\\evil.example": null,
  "/\\evil.example": null,
  "\\/evil.example": null,
  "https:evil.example": null,
  "http:/evil.example": null,
  "https:\\\\evil.example": null,
  "javascript:x": null,
  "java\nscript:x": null,
  " javascript:x": null,
  "\u0000javascript:x": null,
  "java\u200bscript:x": null,
  "data:x": null,
  "blob:http://page.example/x": null,
  "vbscript:x": null,
  "filesystem:http://page.example/x": null,
  "https://user@a.example": null,
  "https://user:word@a.example": null,
  "https://a.example/b c": null,
  "https://a.example/\u202ex": null,
  "https://": null,
};

test("an unsafe address is no link, even if the panel gives it", async () => {
  const shown = await page.evaluate(() => {
    const { resolve } = window;
    window.resolve = (url) => url;
    return render(["[a](javascript:x) <https://a.example>"]).then((root) => {
      window.resolve = resolve;
      return [...root.querySelectorAll("a")].map((each) => each.href);
    });
  });
  assert.deepEqual(shown, ["https://a.example/"]);
});

test("addresses", async () => {
  for (const [written, expected] of Object.entries(ADDRESSES)) {
    assert.equal(await page.evaluate((written) => parts.safeAddress(written), written), expected, JSON.stringify(written));
  }
});

test("a chip has its citation's address, and the highlight of the same one in the text", async () => {
  const highlight = (marked) => page.evaluate(([address, marked]) => parts.withHighlight(address, marked), [BOOK, marked]);
  assert.equal(await highlight(`${BOOK}:~:text=a%20b,c`), `${BOOK}:~:text=a%20b,c`);
  for (const other of [
    null,
    "https://evil.example/docs/run#ports:~:text=a",
    "https://book.example/docs/run#other:~:text=a",
    "https://book.example/docs/other#ports:~:text=a",
    `${BOOK}:~:selector(x)`,
    "javascript:x//:~:text=a",
    "",
  ]) {
    assert.equal(await highlight(other), BOOK);
  }
  const escaped = ["https://book.example/é(1)", "https://book.example/%C3%A9%281%29#:~:text=a"];
  assert.equal(
    await page.evaluate(([address, marked]) => parts.withHighlight(address, marked), escaped),
    "https://book.example/é(1)#:~:text=a",
  );
});

test("only a number that the server has cited becomes a chip", async () => {
  const text = `a [1](${BOOK}) b [2](https://evil.example) c [3] \`[1]\``;
  const shown = await html(text, 1, 3);
  assert.equal(
    shown,
    `<p dir="ltr">a <b title="${BOOK}">1</b> b <span>2</span> c <b title="">3</b> <code dir="ltr">[1]</code></p>`,
  );
  assert.equal(await html(1, 3, text), shown);
});

test("headings follow the question's, and no level is left out", async () => {
  const levels = await page.evaluate(async () => {
    const root = await render(["## a\n#### b\n##### c\n###### d\n## e\n### f\n# g"]);
    return [...root.children].map((each) => each.localName);
  });
  assert.deepEqual(levels, ["h4", "h5", "h6", "h6", "h4", "h5", "h4"]);
});

test("each block has the direction of its first letter", async () => {
  assert.equal(
    await html("1. `code` עברית\n\nabc עברית\n\n> العربية\n\n12\n\n```\nx\n```"),
    '<ol dir="rtl"><li><p dir="rtl"><code dir="ltr">code</code> עברית</p></li></ol>' +
      '<p dir="ltr">abc עברית</p><blockquote dir="rtl"><p dir="rtl">العربية</p></blockquote><p>12</p>' +
      '<div class="code"><div class="code-bar"><span></span><button class="copy-code" type="button">Copy code</button></div>' +
      '<pre dir="ltr"><code>x</code></pre></div>',
  );
});

/** Milliseconds that an answer takes, and those of its longest slice. */
const measure = (text) =>
  page.evaluate(async (text) => {
    const root = document.createElement("div");
    const renderer = new parts.AnswerRenderer(root, { strings: parts.strings, level: 3, resolve, chip });
    renderer.cite({ marker: 1 });
    let total = 0;
    let longest = 0;
    const timed = (run) => {
      const start = performance.now();
      run();
      const time = performance.now() - start;
      total += time;
      longest = Math.max(longest, time);
    };
    const later = window.setTimeout;
    window.setTimeout = (run) => later(() => timed(run));
    timed(() => renderer.write(text));
    timed(() => renderer.end());
    await renderer.complete;
    window.setTimeout = later;
    return { total, longest };
  }, text);

test("100,000 characters are read in linear time, and no slice blocks the page", async () => {
  for (const [name, text] of Object.entries(HOSTILE)) {
    const { total, longest } = await measure(text);
    // About 100 and 20 ms on a machine that does nothing else; quadratic time is many seconds.
    if (total > 2_000) {
      const fifth = (await measure(text.slice(0, 20_000))).total;
      assert.ok(total < 15 * fifth, `${name}: ${fifth} ms, and ${total} ms for five times as much`);
    }
    assert.ok(longest < 1_000, `${name}: ${longest} ms at a time`);
  }
});

test("wide tables and code can be scrolled by keyboard, narrow ones are no stop", async () => {
  const wide = `${"|column ".repeat(20)}\n${"|---".repeat(20)}\n`;
  await show({ answer: `${wide}\n\`\`\`\n${"x".repeat(300)}\n\`\`\`\n\n|d|\n|-|\n\n\`\`\`\ny\n\`\`\``, state: "done", done: done() });
  await page.waitForFunction(() => view.element.querySelectorAll("[tabindex='0']").length === 2);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
});

test("a direction override changes nothing outside its block", async () => {
  const places = (override) =>
    page.evaluate(async (override) => {
      const root = await render([`a ${override}b [1] c\n\nd e [f](https://a.example) g\n\n- h i\n- j k`, 1]);
      document.body.append(root);
      const places = [...root.querySelectorAll("p:not(:first-child), li > p, a")].flatMap((each) => {
        const range = document.createRange();
        range.selectNodeContents(each);
        return [...range.getClientRects()].map(({ left, top, width }) => [left, top, width]);
      });
      root.remove();
      return places;
    }, override);
  const usual = await places("");
  assert.ok(usual.length > 4);
  for (const override of ["\u202e", "\u202d", "\u2067", "\u202b\u202e"]) {
    assert.deepEqual(await places(override), usual);
  }
});

for (const scheme of ["light", "dark"]) {
  test(`an answer with all kinds of blocks has no violation of accessibility rules: ${scheme}`, async () => {
    const check = [{ sentence: "It can also use a socket.", supported: false }];
    const citations = [citation(1), citation(2, { url: null })];
    await show({
      answer: RICH,
      selection: { text: "Selected", source: "x" },
      citations,
      state: "done",
      done: done({ check, follow_ups: ["And then?"] }),
    });
    await page.evaluate((scheme) => {
      const box = context.root.querySelector(".quire");
      box.style.cssText = `color-scheme: ${scheme}; background: var(--paper); display: block`;
    }, scheme);
    await page.getByRole("button", { name: "Not helpful" }).click();
    await page.locator(".cite").first().hover();
    await page.locator(".preview").waitFor();
    await page.addScriptTag({ path: createRequire(import.meta.url).resolve("axe-core") });
    const violations = await page.evaluate(async () => {
      // The page itself has no landmarks and no title.
      const ofPage = ["region", "landmark-one-main", "page-has-heading-one"];
      const rules = Object.fromEntries(ofPage.map((each) => [each, { enabled: false }]));
      const found = await axe.run(document, { rules });
      return found.violations.map(({ id, nodes }) => `${id}: ${nodes[0].html} ${nodes[0].failureSummary}`);
    });
    assert.deepEqual(violations, []);
    await page.mouse.move(1, 1);
  });
}

test("a turn waits, wakes, streams and is done", async () => {
  await show({ question: "<b>Why</b>?", selection: { text: "Selected <i>words</i>", source: "x" } });
  const view = page.locator(".turn");
  assert.equal(await view.getByRole("heading", { level: 3 }).textContent(), "You asked: <b>Why</b>?");
  assert.match(await view.locator(".selection").textContent(), /Selected <i>words<\/i>/);
  assert.match(await view.locator(".status").textContent(), /Searching the book/);
  assert.equal(await view.getAttribute("aria-busy"), "true");
  const change = (changes) =>
    page.evaluate((changes) => {
      Object.assign(turn, changes);
      view.update();
    }, changes);
  await page.evaluate(() => {
    window.turn = { id: "2", question: "Q", answer: "", citations: [], state: "waiting" };
    const made = new parts.TurnView(turn, context);
    view.element.replaceWith(made.element);
    view = made;
  });
  await change({ state: "waking" });
  assert.match(await view.locator(".status").textContent(), /waking up/);
  await change({ state: "streaming" });
  assert.equal(await view.locator(".status").isVisible(), false);
  await page.evaluate((citation) => {
    view.write("It **lis");
    view.write("tens** [1].");
    view.cite(citation);
    turn.answer = "It **listens** [1].";
  }, citation(1));
  assert.equal(await view.locator(".answer").textContent(), "It listens 1.");
  await change({ state: "done", done: done() });
  assert.equal(await view.locator(".answer").textContent(), "It listens 1.");
  assert.equal(await view.getAttribute("aria-busy"), "false");
  assert.equal(await view.getByRole("button", { name: "Copy", exact: true }).isVisible(), true);
});

test("a chip shows its source to the pointer and the focus, opens it at a click, and leaves other clicks to the browser", async () => {
  await show({ answer: `a [1](${BOOK}:~:text=b). c [2]`, citations: [citation(1), citation(2, { url: null })], state: "done", done: done() });
  const chip = page.getByRole("link", { name: "Source 1: Running › Ports" });
  const preview = page.locator(".preview");
  await chip.hover();
  await preview.waitFor();
  assert.match(await preview.textContent(), /^Running › PortsExcerpt 1\.Open$/);
  await page.mouse.move(1, 1);
  await preview.waitFor({ state: "hidden" });
  await page.keyboard.press("Tab");
  await preview.waitFor();
  assert.equal(await chip.evaluate((each) => each.matches(":focus")), true);
  await page.keyboard.press("Escape");
  await preview.waitFor({ state: "hidden" });
  await page.keyboard.press("Enter");
  assert.deepEqual(await calls(), [["open", `${BOOK}:~:text=b`, "Excerpt 1."]]);
  const prevented = await chip.evaluate((each) => {
    let prevented;
    addEventListener("click", (event) => {
      prevented = event.defaultPrevented;
      event.preventDefault();
    }, { once: true });
    each.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, composed: true, ctrlKey: true }));
    return prevented;
  });
  assert.equal(prevented, false);
  assert.equal((await calls()).length, 1);
  // Without an address, a button shows the source.
  await page.getByRole("button", { name: "Source 2: Running › Ports" }).click();
  await preview.waitFor();
  assert.match(await preview.textContent(), /Excerpt 2\.$/);
});

test("a turn that is removed takes its preview along", async () => {
  await show({ answer: "a [1]", citations: [citation(1)], state: "done", done: done() });
  await page.locator(".cite").hover();
  await page.evaluate(() => view.element.remove());
  await show({ answer: "b [1]", citations: [citation(1)], state: "done", done: done() });
  await page.mouse.move(1, 1);
  await page.locator(".cite").hover();
  await page.locator(".preview").waitFor();
  await page.evaluate(() => view.element.remove());
  await page.mouse.click(1, 1);
  assert.deepEqual(page.errors, []);
});

test("the first touch of a chip shows its source, the second one opens it", async () => {
  const phone = await openParts(browser, EXPORTS, { hasTouch: true, viewport: { width: 390, height: 700 } });
  await phone.evaluate(([citation, text]) => {
    const root = document.body.appendChild(document.createElement("div")).attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(parts.loaderCss + parts.themeCss + parts.answerCss);
    root.adoptedStyleSheets = [sheet];
    window.opened = [];
    const context = { root, strings: parts.strings, resolve: (url) => url, open: (...args) => opened.push(args), announce() {} };
    const turn = { id: "1", question: "Q", answer: text, citations: [citation], state: "done", done: { finish_reason: "stop" } };
    root.append(new parts.TurnView(turn, context).element);
  }, [citation(1), "a [1] b"]);
  await phone.locator(".cite").tap();
  await phone.locator(".preview").waitFor();
  assert.deepEqual(await phone.evaluate(() => opened), []);
  await phone.locator(".cite").tap();
  assert.deepEqual(await phone.evaluate(() => opened), [[BOOK, "Excerpt 1."]]);
  await phone.locator(".cite").tap();
  await phone.getByRole("link", { name: "Open" }).tap();
  assert.equal((await phone.evaluate(() => opened)).length, 2);
  assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth), 390);
  await phone.context().close();
});

test("sources are listed by number, each with its path and excerpt", async () => {
  const citations = [citation(2, { section: "Docker", heading: "Images" }), citation(1), citation(1, { heading: "again" })];
  await show({ answer: "a", citations, state: "done", done: done() });
  const items = page.locator(".sources li");
  assert.deepEqual(await items.allTextContents(), ["1Running › PortsExcerpt 1.", "2Running › Docker › ImagesExcerpt 2."]);
  await items.nth(0).click();
  assert.deepEqual(await calls(), [["open", BOOK, "Excerpt 1."]]);
});

test("copy gives Markdown with the addresses of the sources", async () => {
  const copied = await page.evaluate(
    ([answer, citations]) => parts.markdownOf({ answer }, new Map(citations.map((each) => [each.marker, each])), context),
    [`a [1](${BOOK}:~:text=b) \`[1](x)\` [2] [3](c)`, [citation(2, { url: null }), citation(1)]],
  );
  assert.equal(copied, `a [1] \`[1](x)\` [2] [3](c)\n\n[1]: ${BOOK} (Running › Ports)\n2. Running › Ports\n`);
});

test("thumbs: up once; down with a reason and a note; a refused vote can be sent again", async () => {
  const answered = { answer: "a", state: "done", done: done() };
  await show(answered);
  const up = page.getByRole("button", { name: "Helpful", exact: true });
  const down = page.getByRole("button", { name: "Not helpful" });
  await up.click();
  await page.getByText("Thank you.").waitFor();
  assert.equal(await up.getAttribute("aria-pressed"), "true");
  await up.click({ force: true });
  await down.click({ force: true });
  assert.deepEqual((await calls()).filter(([name]) => name === "vote"), [["vote", "1", "up", undefined, undefined]]);

  await show(answered);
  await down.click();
  assert.equal(await down.getAttribute("aria-expanded"), "true");
  await down.click();
  assert.equal(await page.locator(".feedback form").count(), 0);
  await down.click();
  await page.getByLabel("It is incomplete").check();
  await page.getByLabel("Tell us more (optional)").fill(" <b>note</b> ");
  await page.evaluate(() => (counts = false));
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("The server cannot be reached.").waitFor();
  await page.evaluate(() => (counts = true));
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("Thank you.").waitFor();
  assert.deepEqual((await calls()).filter(([name]) => name === "vote").at(-1), ["vote", "1", "down", "incomplete", "<b>note</b>"]);
  assert.equal(await down.getAttribute("aria-pressed"), "true");
  assert.equal(await down.evaluate((each) => each.matches(":focus")), true);

  await show({ ...answered, done: done({ answer_id: "" }) });
  assert.equal(await up.count(), 0);
});

test("follow-ups ask, and an answer that stopped or failed can be tried again", async () => {
  await show({ answer: "a", state: "done", done: done({ follow_ups: ["What <b>else</b>?", "", 5] }) });
  await page.getByRole("button", { name: "What <b>else</b>?" }).click();
  assert.deepEqual(await calls(), [["ask", "What <b>else</b>?"]]);
  for (const [state, problem, shown] of [
    ["stopped", undefined, "Stopped."],
    ["failed", { message: "Too many questions.", code: "X" }, "Too many questions."],
    ["failed", undefined, "The connection was lost."],
  ]) {
    await show({ answer: "The **first", state, problem });
    await page.getByText(shown).waitFor();
    assert.equal(await page.locator(".answer").textContent(), "The **first");
    await page.getByRole("button", { name: "Try again" }).click();
    assert.deepEqual(await calls(), [["retry", "1"]]);
  }
});

test("what the book does not answer: the nearest pages, once, as links", async () => {
  const suggestions = [
    { title: "Ports", url: BOOK },
    { title: "Evil", url: "javascript:x" },
    { title: "None", url: null },
  ];
  const refused = { finish_reason: "not_in_book", mode: "none", suggestions };
  await show({ answer: `It does not. Nearest:\n\n- [Ports](${BOOK})\n- Evil\n- None`, state: "done", done: refused });
  const view = page.locator(".turn");
  assert.equal(await view.getByText("Ports").count(), 1);
  assert.equal(await view.getByText("Nearest pages").count(), 0);
  assert.equal(await view.getByRole("link").count(), 1);
  await view.getByRole("link", { name: "Ports" }).click();
  assert.deepEqual(await calls(), [["open", BOOK, undefined]]);
  // The model's own refusal has no list.
  await show({ answer: "The book does not say.", state: "done", done: { ...refused, mode: "generated" } });
  assert.equal(await view.getByText("Nearest pages").count(), 1);
  assert.equal(await view.getByText("cites no source").count(), 0);
});

test("doubts: unsupported sentences, and an answer without a source", async () => {
  const check = [
    { sentence: "It is <b>so</b>.", supported: false },
    { sentence: "Fine.", supported: true },
    { sentence: "Unknown.", supported: null },
  ];
  await show({ answer: "a [1]", citations: [citation(1)], state: "done", done: done({ check }) });
  assert.deepEqual(await page.locator(".doubt li").allTextContents(), ["It is <b>so</b>."]);
  await show({ answer: "a", state: "done", done: done() });
  assert.equal(await page.getByText("This answer cites no source.").count(), 1);
  await show({ answer: "Hello!", state: "done", done: done({ mode: "none", finish_reason: "small_talk" }) });
  assert.equal(await page.locator(".doubt").count(), 0);
});

test("whatever sessionStorage has is shown as text, or not at all", async () => {
  const junk = ["<img src=x onerror=hacked=1>", 5, null, true, [], {}, [[]], { length: 3 }, "javascript:hacked=1"];
  page.requests.length = 0;
  for (const state of ["done", "failed", "stopped"]) {
    for (const each of junk) {
      await show({
        question: each,
        answer: each,
        selection: { text: each, source: each },
        citations: [each, { marker: each, text: each, source: each }, { marker: 1, text: each, source: { chapter: each, url: each } }],
        state,
        done: { finish_reason: "not_in_book", check: [each], follow_ups: [each], suggestions: [each, { title: each, url: each }], answer_id: each },
        problem: { message: each },
        vote: each,
      });
      await show({ citations: each, done: { check: each, follow_ups: each, suggestions: each }, selection: each, problem: each, state });
    }
  }
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.deepEqual(page.requests, []);
  assert.deepEqual(page.errors, []);
});
