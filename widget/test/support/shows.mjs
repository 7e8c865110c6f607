// What a reader can do, on a site of a real generator.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { violations } from "./axe.mjs";
import { useSite } from "./test-site.mjs";
import { highlighted, luminance, strings, until } from "./widget.mjs";

const SENTENCE = "Turn the key eleven half turns to the left, until it stops by itself.";

/** How each generator's own parts are operated. `router`: it follows links without a reload. */
const OWN = {
  docusaurus: {
    theme: "button[class*=toggleButton]",
    dark: () => document.documentElement.dataset.theme === "dark",
    link: (page) => page.locator(".menu").getByRole("link", { name: "Faults" }),
  },
  mkdocs: {
    theme: "label.md-header__button[for^=__palette]:visible",
    dark: () => document.body.dataset.mdColorScheme === "slate",
    link: (page) => page.locator(".md-sidebar").getByRole("link", { name: "Faults" }).first(),
  },
  vitepress: {
    theme: ".VPNavBarAppearance button",
    dark: () => document.documentElement.classList.contains("dark"),
    link: (page) => page.locator(".VPSidebar").getByRole("link", { name: "Faults" }),
  },
};

export function showsOn(name) {
  const used = useSite(name);
  const own = OWN[name];
  const show = (title, run) => test(`${name}: ${title}`, run);

  /** A widget whose question was answered with a sentence of "With the key" and its source. */
  async function answeredPage(page = "", options = {}) {
    const widget = await used.open(page, options);
    await widget.open();
    const next = used.model.next();
    await widget.ask("How do I turn the key?");
    const request = await next;
    request.say(`${SENTENCE} ${request.cite("eleven half turns")}`);
    request.finish();
    await widget.answered();
    return widget;
  }

  async function toDark(page) {
    for (let clicks = 0; clicks < 3 && !(await page.evaluate(own.dark)); clicks++) {
      await page.locator(own.theme).first().click();
    }
    await until(page, own.dark);
  }

  afterEach(() => used.close());

  show("opens by its button, echoes the question and streams the answer", async () => {
    const widget = await used.open();
    await widget.open();
    const next = used.model.next();
    await widget.ask("How do I wind the clock?");
    await widget.text("How do I wind the clock?").waitFor();
    await widget.text(strings.searching).waitFor();
    const request = await next;
    request.say("On the same day ");
    await widget.text("On the same day").waitFor();
    request.say("of every week.");
    await widget.text("On the same day of every week.").waitFor();
    request.finish();
    await widget.answered();
    assert.deepEqual(widget.page.errors, []);
  });

  show("opens by the shortcut, closes by Escape and gives the focus back", async () => {
    const widget = await used.open();
    const { page } = widget;
    const link = page.getByRole("link", { name: "Wind it" });
    await link.focus();
    await page.keyboard.press("Control+i");
    await widget.panel.waitFor();
    await until(page, () => document.activeElement.shadowRoot?.activeElement?.matches("textarea"));
    await page.keyboard.press("Escape");
    await widget.panel.waitFor({ state: "hidden" });
    assert.equal(await link.evaluate((element) => element === document.activeElement), true);
  });

  show("stops: Quire ends the model's stream, and the question can be asked again", async () => {
    const widget = await used.open();
    await widget.open();
    const next = used.model.next();
    await widget.ask("How do I wind the clock?");
    const request = await next;
    request.say("It is a long story. ");
    await widget.text("It is a long story.").waitFor();
    await widget.button(strings.stop).click();
    await request.closed;
    await widget.text(strings.stopped).waitFor();
    const again = used.model.next();
    await widget.button(strings.retry).click();
    const second = await again;
    assert.equal(second.question, "How do I wind the clock?");
    second.say("Every week.");
    second.finish();
    await widget.text("Every week.").waitFor();
    await widget.answered();
  });

  show("a follow-up is asked in the same conversation", async () => {
    const widget = await answeredPage();
    const next = used.model.next();
    await widget.ask("And to the right?");
    const request = await next;
    assert.deepEqual(
      request.messages.map(({ role }) => role),
      ["system", "user", "assistant", "user"],
    );
    request.say("Never.");
    request.finish();
    await widget.text("Never.").waitFor();
    await widget.text("How do I turn the key?").waitFor();
  });

  show("a citation lands on its heading, with the sentence highlighted and without a reload", async () => {
    const widget = await answeredPage("faults");
    const { page } = widget;
    await page.evaluate(() => (window.sameDocument = true));
    await widget.link("1").first().click();
    await page.waitForURL((url) => url.hash.startsWith("#with-the-key"));
    assert.equal(new URL(page.url()).pathname, new URL(used.address("winding")).pathname);
    assert.match(String(await (await highlighted(page)).jsonValue()), /Turn the key eleven half turns/);
    await until(page, () => {
      const { top, bottom } = document.getElementById("with-the-key").getBoundingClientRect();
      return top >= 0 && bottom < innerHeight;
    });
    assert.equal(await page.evaluate(() => window.sameDocument), true);
    assert.deepEqual(page.errors, []);
  });

  show("the site's own links keep the conversation, and the next question is answered", async () => {
    const widget = await answeredPage("winding");
    const { page } = widget;
    await page.evaluate(() => (window.sameDocument = true));
    await own.link(page).click();
    await page.getByRole("heading", { level: 1, name: "Faults" }).waitFor();
    assert.equal(await page.evaluate(() => window.sameDocument), true);
    assert.equal(await widget.element.count(), 1);
    await widget.text(SENTENCE).waitFor();
    const next = used.model.next();
    await widget.ask("Why does it stop?");
    const request = await next;
    request.say("Dust stops it.");
    request.finish();
    await widget.text("Dust stops it.").waitFor();
    assert.deepEqual(page.errors, []);
  });

  show("a selected text can be asked about", async () => {
    const widget = await used.open("winding");
    const { page } = widget;
    const paragraph = page.getByText("A full spring drives it");
    await paragraph.scrollIntoViewIfNeeded();
    await paragraph.click({ clickCount: 3 });
    await widget.button(strings.askSelection).click();
    await widget.text(strings.aboutSelection).waitFor();
    const next = used.model.next();
    await widget.ask("What does this mean?");
    const { passages } = await next.then((request) => {
      request.say("It means nine days.");
      request.finish();
      return request;
    });
    const marked = passages.find(({ from }) => from.includes("Selected text"));
    assert.match(marked.text, /A full spring drives it for nine days/);
    await widget.text("It means nine days.").waitFor();
  });

  show("an answer is voted on, with a reason", async () => {
    const widget = await answeredPage();
    const counted = widget.page.waitForResponse("http://quire.example/feedback");
    await widget.button(strings.notHelpful).click();
    await widget.element.getByText(strings.reasonIncomplete).click();
    await widget.button(strings.sendFeedback).first().click();
    const response = await counted;
    assert.equal(response.status(), 200);
    assert.equal(response.request().postDataJSON().vote, "down");
    assert.equal(response.request().postDataJSON().reason, "incomplete");
    await widget.text(strings.thanks).waitFor();
  });

  show("starter questions come from the book", async () => {
    const widget = await used.open();
    await widget.open();
    const starter = widget.element.getByRole("group", { name: strings.tryAsking }).getByRole("button");
    const question = (await starter.first().textContent()).trim();
    const next = used.model.next();
    await starter.first().click();
    const request = await next;
    assert.equal(request.question, question);
    request.finish();
    await widget.answered();
  });

  show("pages are found while typing, and open", async () => {
    const widget = await used.open();
    const { page } = widget;
    await widget.open();
    await widget.question.pressSequentially("linseed putty");
    await widget.element.getByRole("option", { name: /fogged/ }).click();
    await page.waitForURL((url) => url.hash.startsWith("#the-glass-is-fogged"));
    await page.getByRole("heading", { level: 1, name: "Faults" }).waitFor();
  });

  show("follows the site's switch between light and dark", async () => {
    const widget = await used.open("", { colorScheme: "light" });
    await widget.open();
    assert.ok((await luminance(widget.panel)) > 0.8);
    await toDark(widget.page);
    assert.ok((await luminance(widget.panel)) < 0.1);
    // Also where the site remembers it and the system does not.
    await widget.page.reload();
    await widget.panel.waitFor();
    assert.ok((await luminance(widget.panel)) < 0.1);
  });

  show("on a phone it is a modal sheet of the window's width", async () => {
    const widget = await answeredPage("", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    assert.equal(await widget.panel.evaluate((element) => element.matches("dialog:modal")), true);
    const width = await widget.page.evaluate(() => innerWidth);
    assert.equal((await widget.panel.boundingBox()).width, width);
    // A citation gets out of its own way.
    await widget.link("1").first().click();
    await widget.page.waitForURL((url) => url.hash.startsWith("#with-the-key"));
    await widget.panel.waitFor({ state: "hidden" });
  });

  show("the keyboard alone asks, reads sources and closes", async () => {
    const widget = await used.open("winding");
    const { page } = widget;
    await page.keyboard.press("Control+i");
    await widget.question.waitFor();
    const next = used.model.next();
    await page.keyboard.type("How do I turn the key?");
    await page.keyboard.press("Enter");
    const request = await next;
    request.say(`${SENTENCE} ${request.cite("eleven half turns")}`);
    request.finish();
    await widget.answered();
    const visited = [];
    for (let steps = 0; steps < 40; steps++) {
      await page.keyboard.press("Shift+Tab");
      const name = await page.evaluate(() => {
        const inside = document.activeElement.shadowRoot?.activeElement;
        return inside && (inside.getAttribute("aria-label") || inside.textContent).trim();
      });
      if (name === null) break; // no trap: the focus left the panel
      visited.push(name);
    }
    for (const wanted of [strings.helpful, strings.close]) assert.ok(visited.includes(wanted), `${wanted} of ${visited}`);
    assert.ok(visited.some((name) => /^(Source )?1/.test(name)), `a source of ${visited}`);
    await widget.question.focus();
    await page.keyboard.press("Escape");
    await widget.panel.waitFor({ state: "hidden" });
  });

  show("a page from right to left has the panel on its left, in Arabic", async () => {
    const { default: arabic } = await import("../../src/locales/ar.ts");
    const widget = await used.open("ar", { strings: arabic });
    await widget.open();
    const box = await widget.panel.boundingBox();
    assert.equal(box.x, 0);
    const link = await own.link(widget.page).boundingBox();
    assert.ok(link.x >= box.width, "it covers no link of the site");
    assert.equal(await widget.question.evaluate((element) => getComputedStyle(element).direction), "rtl");
    const next = used.model.next();
    await widget.ask("أين تُعلّق ساعة المد؟ على جدار داخلي؟");
    const request = await next;
    request.say("علّق الساعة على جدار داخلي.");
    request.finish();
    await widget.text("علّق الساعة على جدار داخلي.").waitFor();
  });

  show("is absent in print", async () => {
    const widget = await answeredPage();
    const { page } = widget;
    await page.emulateMedia({ media: "print" });
    assert.equal(await widget.panel.isVisible(), false);
    assert.equal(await widget.launcher.isVisible(), false);
    const width = await page.evaluate(() => document.body.getBoundingClientRect().width);
    assert.equal(width, 1280);
  });

  show("a reload keeps the conversation", async () => {
    const widget = await answeredPage();
    await widget.page.reload();
    await widget.text(SENTENCE).waitFor();
    await widget.link("1").first().waitFor();
    const next = used.model.next();
    await widget.ask("And then?");
    const request = await next;
    assert.equal(request.messages.length, 4);
    request.finish();
  });

  show("axe finds no violation, in both themes, closed, open and with an answer", async () => {
    const page = (await used.open("winding", { colorScheme: "light" })).page;
    for (const dark of [false, true]) {
      if (dark) {
        await toDark(page);
      }
      await page.route("http://quire.example/**", (route) => route.abort());
      await page.reload();
      const before = new Set(await violations(page));
      await page.unroute("http://quire.example/**");
      await page.reload();
      // Colours outside the widget are the site's, and some of its links change theirs late.
      const isOwn = (line) => !line.startsWith("color-contrast: ") || line.includes("quire-");
      const fresh = async () => (await violations(page)).filter((line) => !before.has(line) && isOwn(line));
      const widget = new (await import("./widget.mjs")).Widget(page);
      await widget.launcher.waitFor();
      assert.deepEqual(await fresh(), [], "closed");
      await widget.open();
      assert.deepEqual(await fresh(), [], "open");
      const next = used.model.next();
      await widget.ask("How do I turn the key?");
      const request = await next;
      const cited = request.cite("eleven half turns");
      request.say(`${SENTENCE} ${cited}\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n`);
      request.say(`1. one\n\n   \`\`\`bash\n   tideclock set\n   \`\`\`\n\n2. two ${cited}\n`);
      request.finish();
      await widget.answered();
      assert.deepEqual(await fresh(), [], "with an answer");
      await widget.button(strings.newConversation).click();
      await widget.button(strings.close).click();
    }
  });
}
