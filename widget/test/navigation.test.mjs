// Sources open at their heading and sentence: in sites of real generators, and in plain pages.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openPage, startBrowser } from "./support/browser.mjs";
import { startInternet } from "./support/internet.mjs";
import { bundleParts } from "./support/parts.mjs";
import { builtSite, SITES } from "./support/sites.mjs";

const HOST = "http://page.example";
let internet;
let browser;
let script;

before(async () => {
  internet = await startInternet();
  browser = await startBrowser(internet);
  script = await bundleParts(`
    export { openAddress, resolveAddress } from "./navigation.ts";
    export { clearHighlight, highlightOnArrival, showPlace } from "./highlight.ts";
  `);
});

after(async () => {
  await browser?.close();
  internet?.stop();
});

/** A page that has the widget's modules, as every page of a site that embeds it. */
async function visit(url, options) {
  const page = await openPage(browser, "about:blank", options);
  await page.addInitScript(`${script}; window.parts = parts;`);
  await page.addInitScript(() => {
    addEventListener("DOMContentLoaded", () => parts.highlightOnArrival());
  });
  await page.goto(url);
  await page.waitForLoadState();
  await page.evaluate(() => {
    window.sameDocument = true;
  });
  return page;
}

const open = (page, url, excerpt) =>
  page.evaluate(([to, text]) => void parts.openAddress(to, text), [url, excerpt]);

/** Wait for a mark, and tell what the reader has before them. */
async function marked(page) {
  await page.waitForFunction(() => CSS.highlights?.get("quire")?.size);
  return page.evaluate(() => {
    const [range] = CSS.highlights.get("quire");
    const { top, bottom } = range.getBoundingClientRect();
    return {
      text: range.toString().replace(/\s+/g, " "),
      heading: document.activeElement.textContent.replace(/[#¶\u200b]/g, "").trim(),
      isInView: top >= 0 && bottom <= innerHeight,
      sameDocument: !!window.sameDocument,
      path: location.pathname,
      hash: location.hash,
    };
  });
}

function pages(contents) {
  const html = (body) => `<!doctype html><html lang=en><title>Page</title><body>${body}`;
  internet.pages("page.example", Object.fromEntries(
    Object.entries(contents).map(([path, body]) => [path, html(body)]),
  ));
}

const LONG = "<p>Nothing to see here.</p>".repeat(60);

for (const name of SITES) {
  describe(`a site of ${name}`, () => {
    let site;
    let address;

    before(async () => {
      site = await builtSite(name);
      const { host } = new URL(site.origin);
      internet.site(host, site.files, { base: site.base });
      internet.pages("quire.example", { "/widget.js": "// not what is tested" });
      address = (page) => `${site.origin}${site.base}${page}${site.end}`;
    });

    test("opens another page without a reload, at the heading and the sentence", async () => {
      const page = await visit(address("winding"));
      await page.waitForLoadState("networkidle");
      await open(page, `${address("winding")}#grease:~:text=More%20grease%20collects,low%20water`);
      const same = await marked(page);
      assert.equal(same.text, "More grease collects dust, and dust stops the clock at low water");
      assert.equal(same.heading, "Grease");
      assert.equal(same.hash, "#grease");
      assert.ok(same.isInView && same.sameDocument);

      await open(page, `${address("chimes")}#in-a-storm`, "This storm stroke sounds in position III as …");
      await page.waitForFunction(() => document.querySelector("h1").textContent.includes("Chimes"));
      const other = await marked(page);
      assert.equal(other.text, "This storm stroke sounds in position III as");
      assert.equal(other.heading, "In a storm");
      assert.equal(other.hash, "#in-a-storm");
      assert.ok(other.isInView && other.sameDocument);
      assert.equal(await page.evaluate(() => sessionStorage.quireArrival), undefined);

      await page.goBack();
      await page.waitForFunction(() => document.querySelector("h1").textContent.includes("Winding"));
      assert.equal(new URL(page.url()).hash, "#grease");
      await page.context().close();
    });

    test("loads a page that its router does not have", async () => {
      const { host } = new URL(site.origin);
      const page = await visit(address("winding"));
      await page.waitForLoadState("networkidle");
      internet.pages(host, { [new URL(`${site.base}api/x.html`, site.origin).pathname]:
        "<!doctype html><title>API</title><h1>API</h1><h2 id=get>GET</h2><p>Reads the state of the clock." });
      await open(page, `${site.origin}${site.base}api/x.html#get`, "Reads the state of the clock.");
      const found = await marked(page);
      assert.equal(found.text, "Reads the state of the clock");
      assert.equal(found.heading, "GET");
      assert.equal(found.sameDocument, false);
      await page.context().close();
      internet.site(host, site.files, { base: site.base });
    });
  });
}

describe("plain pages", () => {
  test("another page is loaded, and shows the place", async () => {
    pages({
      "/a": "<main><h1>A</h1></main>",
      "/b/": `<main><h1>B</h1>${LONG}<h2 id=part>Part</h2><p>The sentence that is cited. More.</p>${LONG}</main>`,
    });
    const page = await visit(`${HOST}/a`);
    await open(page, `${HOST}/b/#part`, "The sentence that is cited.");
    assert.deepEqual(await marked(page), {
      text: "The sentence that is cited", heading: "Part", isInView: true,
      sameDocument: false, path: "/b/", hash: "#part",
    });
    await page.reload();
    await page.waitForLoadState("networkidle");
    assert.equal(await page.evaluate(() => CSS.highlights.size), 0);
    await page.context().close();
  });

  test("a place is kept for one page, and for a short time", async () => {
    pages({ "/a": "<h1>A</h1><p>The sentence that is cited.", "/b": "<h1>B</h1><p>The sentence that is cited." });
    const page = await visit(`${HOST}/a`);
    const keep = (entry) => page.evaluate((value) => {
      sessionStorage.quireArrival = JSON.stringify({ id: "", directive: "", excerpt: "The sentence that is cited.", ...value });
    }, entry);
    const now = Date.now();
    for (const entry of [
      { page: `${HOST}/b`, time: now },
      { page: `${HOST}/a`, time: now - 31_000 },
      { page: `${HOST}/a` },
      { time: now },
    ]) {
      await keep(entry);
      await page.goto(`${HOST}/a`);
      await page.evaluate(() => parts.showPlace({ id: "", directive: "", excerpt: "" }));
      assert.equal(await page.evaluate(() => CSS.highlights.size), 0, JSON.stringify(entry));
      assert.equal(await page.evaluate(() => sessionStorage.quireArrival), undefined);
    }
    await page.evaluate(() => (sessionStorage.quireArrival = "{"));
    await page.goto(`${HOST}/a`);
    await keep({ page: `${HOST}/a`, time: now });
    await page.goto(`${HOST}/a`);
    assert.equal((await marked(page)).text, "The sentence that is cited");
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test("a page that was loaded leaves the focus where the reader has put it", async () => {
    pages({
      "/a": "<h1>A</h1>",
      "/b": "<main><h1>B</h1><input><script>document.querySelector(`input`).focus()</script><h2 id=part>Part</h2><p>The sentence that is cited.</p></main>",
    });
    const page = await visit(`${HOST}/a`);
    await open(page, `${HOST}/b`, "The sentence that is cited.");
    await marked(page);
    assert.equal(await page.evaluate(() => document.activeElement.localName), "input");
    await open(page, "#part", "The sentence that is cited.");
    await page.waitForFunction(() => document.activeElement.id === "part");
    await page.context().close();
  });

  test("the same page under another address is not loaded again", async () => {
    const body = "<main><h1>A</h1><h2 id=part>Part</h2><p>The sentence that is cited.</main>";
    pages({ "/a": body, "/a/": body, "/a.html": body, "/a/index.html": body });
    for (const path of ["/a", "/a/", "/a.html", "/a/index.html"]) {
      const page = await visit(HOST + path);
      for (const other of ["/a", "/a/", "/a.html", "/a/index.html"]) {
        await open(page, `${HOST}${other}#part`, "The sentence that is cited.");
        const { sameDocument, path: now } = await marked(page);
        assert.ok(sameDocument && now === path, `${other} from ${path}: ${now}`);
      }
      await page.context().close();
    }
  });

  test("another site opens in a tab of its own, which cannot reach this one", async () => {
    pages({ "/a": "<h1>A</h1><button onclick=\"parts.openAddress('http://quire.example/b#c:~:text=d')\">Open</button>" });
    internet.pages("quire.example", { "/b": "<!doctype html><title>B</title><p id=c>d" });
    const page = await visit(`${HOST}/a`);
    const [tab] = await Promise.all([page.context().waitForEvent("page"), page.click("button")]);
    await tab.waitForLoadState();
    assert.equal(tab.url(), "http://quire.example/b#c:~:text=d");
    assert.equal(await tab.evaluate(() => window.opener), null);
    assert.equal(page.url(), `${HOST}/a`);
    await page.context().close();
  });

  test("of two sources that are opened one after the other, the second is shown", async () => {
    pages({ "/a": `<main><h1>A</h1><h2 id=one>One</h2><p>The first sentence.${LONG}<h2 id=two>Two</h2><p>The second sentence.` });
    const page = await visit(`${HOST}/a`);
    await page.evaluate(() => {
      parts.openAddress("#one", "The first sentence.");
      parts.openAddress("#two", "The second sentence.");
    });
    assert.equal((await marked(page)).text, "The second sentence");
    await page.context().close();
  });

  test("a page that the router renders again shows the place again, another page does not", async () => {
    const body = "<main><h1>A</h1><h2 id=b>B</h2><p>Press the red button.</p></main>";
    pages({ "/a": body });
    const page = await visit(`${HOST}/a`);
    const again = () =>
      page.evaluate(() => {
        const main = document.querySelector("main");
        main.replaceWith(main.cloneNode(true));
      });
    await open(page, "#b", "Press the red button.");
    await marked(page);
    await again();
    await page.waitForFunction(() => String([...CSS.highlights.get("quire") ?? []][0]).startsWith("Press"));
    assert.equal((await marked(page)).heading, "B");
    await page.evaluate(() => history.pushState(null, "", "/other"));
    await again();
    await page.waitForTimeout(300);
    assert.ok(await page.evaluate(() => document.activeElement === document.body));
    await page.context().close();
  });

  test("a listener that is the last of all may be the router's", async () => {
    pages({ "/a": "<main><h1>A</h1></main>", "/b": "<main><h1>B</h1></main>" });
    const page = await visit(`${HOST}/a`);
    // As Turbo does it.
    await page.evaluate(() => {
      const follow = (event) => {
        if (event.defaultPrevented) return;
        event.preventDefault();
        history.pushState(null, "", event.target.href);
        document.querySelector("main").innerHTML = "<h1>B</h1><p>Press the red button.</p>";
      };
      addEventListener("click", () => addEventListener("click", follow, { once: true }), true);
    });
    await open(page, `${HOST}/b`, "Press the red button.");
    const { sameDocument, path } = await marked(page);
    assert.ok(sameDocument);
    assert.equal(path, "/b");
    await page.context().close();
  });

  test("addresses are safe and complete", async () => {
    pages({ "/docs/a": "<h1>A</h1>" });
    const page = await visit(`${HOST}/docs/a`);
    const host = "https://quire.example:8443";
    const cases = [
      ["https://book.example/a#b:~:text=c", "https://book.example/a#b:~:text=c"],
      ["/book/start#a", `${host}/book/start#a`],
      ["/bookshop", `${HOST}/bookshop`],
      ["/docs/b", `${HOST}/docs/b`],
      ["b?c#d", `${HOST}/docs/b?c#d`],
      ["#d", `${HOST}/docs/a#d`],
      ["//other.example/a", null],
      ["", null],
      [null, null],
      ["http://", null],
      ["javascript:alert(1)", null],
      [" java\nscript:alert(1)", null],
      ["data:text/html,x", null],
      ["mailto:a@b.example", "mailto:a@b.example"],
      ["blob:https://a.example/1", null],
      ["https://book.example@evil.example/", null],
      ["https://:x@evil.example/", null],
    ];
    for (const [url, expected] of cases) {
      const found = await page.evaluate(([url, host]) => parts.resolveAddress(url, { host, local_pages: "/book/" }), [url, host]);
      assert.equal(found, expected, String(url));
    }
    const own = await page.evaluate((host) => parts.resolveAddress("/book/start", { host, local_pages: null }), host);
    assert.equal(own, `${HOST}/book/start`);
    await page.context().close();
  });
});

describe("the sentence", () => {
  async function find(body, place) {
    pages({ "/a": body });
    const page = await visit(`${HOST}/a`);
    await page.evaluate(
      (place) => parts.showPlace({ id: "", directive: "", excerpt: "", ...place }),
      place,
    );
    const found = await page.evaluate(() => {
      const [range] = CSS.highlights.get("quire") ?? [];
      return range && { text: range.toString().replace(/\s+/g, " "), parent: range.startContainer.parentElement.id };
    });
    assert.deepEqual(page.errors, []);
    await page.context().close();
    return found;
  }
  const text = async (body, place) => (await find(body, place))?.text;

  test("is found whatever the site's typography and markup", async () => {
    for (const [body, excerpt] of [
      ["<p>It’s “quoted” – and more…</p>", `It's "quoted" -- and more...`],
      ["<p>Set <code>PORT</code>, then\n  <b>re</b>start <a href=x>the\tserver</a>.</p>", "Set PORT, then restart the server."],
      ["<p>soft&shy;hyphen&nbsp;space and zero&#8203;width</p>", "softhyphen space and zerowidth"],
      ["<p>İstanbul BÜYÜK şehirdir</p>", "İstanbul büyük şehirdir"],
      ["<p>潮の時刻は港ごとに違います。</p>", "潮の時刻は港ごとに違います。"],
      ["<p>ساعة المد والجزر دقيقة</p>", "ساعة المد والجزر دقيقة."],
      ["<ul><li>Wind the spring completely.</li></ul>", "Spring: Wind the spring completely."],
    ]) {
      assert.ok(await text(`<main>${body}</main>`, { excerpt }), excerpt);
    }
  });

  test("has its first and last letter marked, and nothing else", async () => {
    const body = "<main><p>Before. <i>“</i>The 🌊 <b>tide</b> turns<em> twice</em>! After.</p></main>";
    assert.equal(await text(body, { excerpt: `"The tide turns twice!"` }), "The 🌊 tide turns twice");
  });

  test("is that of the text directive, else the first of the excerpt that the page has", async () => {
    const body = "<main><p>The first sentence here. The second sentence here. A third (one), here.</main>";
    const excerpt = "Not on the page at all. The second sentence here. The first sentence here.";
    assert.equal(await text(body, { directive: "text=A%20third,here", excerpt }), "A third (one), here");
    assert.equal(await text(body, { directive: "text=prefix-,A%20third,%2C%20here,-suffix", excerpt }), "A third (one), here");
    assert.equal(await text(body, { directive: "text=No%20such%20words", excerpt }), "The second sentence here");
    assert.equal(await text(body, { directive: "text=%E0%A4%A", excerpt }), "The second sentence here");
    assert.equal(await text(body, { excerpt: "None of it is here." }), undefined);
    assert.equal(await text(body, { excerpt: "first" }), undefined);
  });

  test("is found under its heading, else elsewhere in the main text", async () => {
    const body = `<nav>Press the red button.</nav><p id=0>Press the red button.</p>
      <main><h2 id=a>A</h2><p id=1>Press the red button.</p><h2 id=b>B</h2><p id=2>Press the red button.</p></main>`;
    const excerpt = "Press the red button.";
    assert.equal((await find(body, { id: "b", excerpt })).parent, "2");
    assert.equal((await find(body, { id: "a", excerpt })).parent, "1");
    assert.equal((await find(body, { excerpt })).parent, "1");
    assert.equal((await find(body, { id: "gone", excerpt })).parent, "1");
    const above = "<main><p id=1>Press the red button.</p><h2 id=b>B</h2></main>";
    assert.equal((await find(above, { id: "b", excerpt })).parent, "1");
  });

  test("is never one of the widget or of a script", async () => {
    const excerpt = "Press the red button.";
    const body = `<main><quire-ask>${excerpt}<template shadowrootmode=open>${excerpt}</template></quire-ask>
      <script type=x>${excerpt}</script><style>/* ${excerpt} */</style><textarea>${excerpt}</textarea></main>`;
    assert.equal(await text(body, { excerpt }), undefined);
  });

  test("is shown even in a closed <details>, and under a heading that is out of view", async () => {
    pages({ "/a": `<main><h1>A</h1><h2 id=b>B</h2>${LONG}<details><summary>More</summary><p>Press the red button.</p></details>${LONG}` });
    const page = await visit(`${HOST}/a`);
    await page.evaluate(() => parts.showPlace({ id: "b", directive: "", excerpt: "Press the red button." }));
    const { isInView, heading } = await marked(page);
    assert.ok(isInView);
    assert.equal(heading, "B");
    await page.context().close();
  });

  test("in a long block is in view", async () => {
    const lines = Array.from({ length: 300 }, (_, n) => `line number ${n}`).join("\n");
    pages({ "/a": `<main><h1>A</h1><pre>${lines}</pre></main>` });
    const page = await visit(`${HOST}/a`);
    await page.evaluate(() => parts.showPlace({ id: "", directive: "", excerpt: "line number 200" }));
    assert.ok((await marked(page)).isInView);
    await page.context().close();
  });

  test("is readable in both themes, and gone after a click in the page", async () => {
    pages({ "/a": "<style>body{background:#111;color:#eee}</style><main><p>Press the red button.</p><quire-ask>x</quire-ask></main>" });
    const page = await visit(`${HOST}/a`);
    await page.evaluate(() => parts.showPlace({ id: "", directive: "", excerpt: "Press the red button." }));
    const [text, background] = await page.evaluate(() => {
      const { color, backgroundColor } = getComputedStyle(document.querySelector("p"), "::highlight(quire)");
      return [color, backgroundColor].map((value) => value.match(/\d+/g).map((each) => {
        const part = each / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      })).map(([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b);
    });
    const contrast = (Math.max(text, background) + 0.05) / (Math.min(text, background) + 0.05);
    assert.ok(contrast > 7, String(contrast));
    await page.click("quire-ask");
    assert.equal(await page.evaluate(() => CSS.highlights.size), 1);
    await page.click("p");
    assert.equal(await page.evaluate(() => CSS.highlights.size), 0);
    await page.context().close();
  });

  test("is scrolled to in a browser that cannot mark it", async () => {
    pages({ "/a": `<main>${LONG}<h2 id=b>B</h2><p>Press the red button.</p>${LONG}</main>` });
    const page = await visit(`${HOST}/a`);
    await page.evaluate(async () => {
      delete CSS.highlights;
      Object.defineProperty(CSS.__proto__, "highlights", { value: undefined, configurable: true });
      delete CSS.__proto__.highlights;
      await parts.showPlace({ id: "b", directive: "", excerpt: "Press the red button." });
    });
    assert.ok(await page.evaluate(() => document.activeElement.id === "b" && scrollY > 0));
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });

  test("the heading is focusable only while it has the focus", async () => {
    pages({ "/a": "<main><h2 id=b>B</h2><p>Press the red button. <a href=x>Link</a></main>" });
    const page = await visit(`${HOST}/a`);
    await page.evaluate(() => parts.showPlace({ id: "b", directive: "", excerpt: "" }));
    assert.equal(await page.evaluate(() => document.activeElement.id), "b");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Link");
    assert.equal(await page.evaluate(() => document.querySelector("h2").hasAttribute("tabindex")), false);
    await page.context().close();
  });

  test("is looked for in a page of 2 MB without blocking it", async () => {
    const filler = `<p>${"Nothing to see here, <b>nothing</b> at all. ".repeat(10)}</p>`.repeat(5_000);
    pages({ "/a": `<main><h1>A</h1>${filler}<p id=last>Press the red button.</p></main>` });
    const page = await visit(`${HOST}/a`);
    const turns = await page.evaluate(async () => {
      let turns = 0;
      const count = setInterval(() => turns++);
      await parts.showPlace({ id: "", directive: "", excerpt: "This is not in the page." });
      clearInterval(count);
      return turns;
    });
    assert.ok(turns > 10, `${turns} turns of the event loop`);
    await page.evaluate(() => parts.showPlace({ id: "", directive: "", excerpt: "Press the red button." }));
    assert.ok((await marked(page)).isInView);
    await page.context().close();
  });
});
