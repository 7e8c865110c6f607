// Pictures of the main states on each site: node test/screenshots.mjs FOLDER [SITE...]

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import "./support/typescript.mjs";

const { openPage, startBrowser } = await import("./support/browser.mjs");
const { startInternet } = await import("./support/internet.mjs");
const { startModel } = await import("./support/model.mjs");
const { startQuire } = await import("./support/quire.mjs");
const { builtSite, SITES } = await import("./support/sites.mjs");
const { strings, Widget } = await import("./support/widget.mjs");
const { default: arabicStrings } = await import("../src/locales/ar.ts");

const [folder = "screenshots", ...chosen] = process.argv.slice(2);
await mkdir(folder, { recursive: true });

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const DARK = { colorScheme: "dark" };

const answer = (request) => {
  const cite = (words) => request.cite(words);
  request.say(`Wind the clock **on the same day of every week** ${cite("same day of every week")}:\n\n`);
  request.say(`1. Turn the key eleven half turns to the left ${cite("eleven half turns")}.\n`);
  request.say("2. After a long rest, set the harbour again:\n\n");
  request.say("   ```bash\n   tideclock set --harbour 217 --offset -0:25\n   ```\n\n");
  request.say(`3. Wait for two chimes ${cite("Wait for two chimes")}.\n\n`);
  request.say("| Position | High water |\n| --- | --- |\n| I | three deep strokes |\n| III | silence |\n");
  request.finish();
};

for (const name of chosen.length ? chosen : SITES) {
  const site = await builtSite(name);
  const internet = await startInternet();
  const model = await startModel();
  internet.site(new URL(site.origin).host, site.files, site);
  const quire = await startQuire({ content: site.project, model, env: site.settings });
  internet.quire(quire);
  const browser = await startBrowser(internet);
  const address = site.origin + site.base;

  /** One picture: `act` brings the widget into its state. */
  const picture = async (state, act, { path = "winding" + site.end, ...options } = {}) => {
    const page = await openPage(browser, address + path, options);
    const widget = new Widget(page);
    await widget.launcher.waitFor();
    await act(widget);
    await page.screenshot({ path: join(folder, `${name}-${state}.png`) });
    await page.context().close();
    console.log(`${name}-${state}.png`);
  };
  const asked = async (widget, question, reply = answer) => {
    await widget.open();
    const next = model.next();
    await widget.ask(question);
    reply(await next);
    await widget.button(strings.send).waitFor();
  };
  const open = (widget) => widget.open();
  const ask = (widget) => asked(widget, "How do I wind the clock, also after a long rest?");

  await picture("button", () => {});
  await picture("panel", open);
  await picture("answer", ask);
  await picture("answer-end", async (widget) => {
    await ask(widget);
    await widget.element.locator("[part=conversation]").evaluate((e) => e.scrollTo(0, 1e6));
  });
  await picture("dark", ask, DARK);
  await picture("sheet", ask, PHONE);
  await picture("sheet-dark-empty", open, { ...PHONE, ...DARK });
  await picture("phone-button", () => {}, PHONE);
  await picture("streaming", async (widget) => {
    await widget.open();
    const next = model.next();
    await widget.ask("How do I wind the clock?");
    const request = await next;
    request.say("Wind the clock on the same");
    await widget.text("on the same").waitFor();
  });
  await picture("waiting", async (widget) => {
    await widget.open();
    const next = model.next();
    await widget.ask("How do I wind the clock?");
    await next;
  });
  await picture("search", async (widget) => {
    await widget.open();
    await widget.question.pressSequentially("grease");
    await widget.element.getByRole("option").first().waitFor();
  });
  await picture("selection", async (widget) => {
    await widget.page.getByText("A full spring drives it").click({ clickCount: 3 });
    await widget.button(strings.askSelection).waitFor();
  });
  await picture("refusal", async (widget) => {
    await widget.open();
    await widget.ask("Who won the football championship of 1974?");
    await widget.answered();
  });
  await picture("feedback", async (widget) => {
    await ask(widget);
    await widget.button(strings.notHelpful).click();
  });
  await picture("waking", async (widget) => {
    await widget.open();
    internet.fault((_, response) => {
      response.writeHead(503, { "Content-Type": "text/html" }).end("Starting");
      return true;
    });
    await widget.ask("How do I wind the clock?");
    await widget.text(strings.waking).waitFor();
  });
  internet.fault(null);
  const arabic = async (widget) => {
    await widget.launcher.click();
    const field = widget.element.getByRole("textbox");
    await field.fill("أين تُعلّق ساعة المد؟ على جدار داخلي؟");
    const next = model.next();
    await field.press("Enter");
    const request = await next;
    request.say(`علّق الساعة على جدار داخلي. [1]\n\n- بخار المطبخ\n- \`tideclock set\`\n`);
    request.finish();
    await widget.button(arabicStrings.send).waitFor();
  };
  await picture("rtl-button", () => {}, { path: "ar/" });
  await picture("rtl", arabic, { path: "ar/" });
  await picture("rtl-sheet", arabic, { path: "ar/", ...PHONE });

  await browser.close();
  await quire.stop();
  model.stop();
  internet.stop();
}
