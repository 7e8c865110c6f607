// A page without a generator, for what depends on its host only.

import { after, afterEach, before } from "node:test";
import { fileURLToPath } from "node:url";
import { openPage, startBrowser } from "./browser.mjs";
import { startInternet } from "./internet.mjs";
import { startModel } from "./model.mjs";
import { startQuire } from "./quire.mjs";
import { Widget } from "./widget.mjs";

const content = fileURLToPath(new URL("../sites/pages/", import.meta.url));
export const PAGE = "page.example";

/** `env`: settings of Quire. Without `scripted`, Quire has no model and answers with quotes. */
export function usePlainPage({ env = {}, scripted = true, html = "<h1>A page</h1>", headers = {} } = {}) {
  const used = {};
  const contexts = [];

  before(async () => {
    used.internet = await startInternet();
    used.internet.page(PAGE, html, headers);
    used.model = scripted ? await startModel() : undefined;
    const settings = { SITE_URL: `http://${PAGE}`, SITE_GENERATOR: "mkdocs", ...env };
    used.quire = await startQuire({ content, model: used.model, env: settings });
    used.internet.quire(used.quire);
    used.browser = await startBrowser(used.internet);
  });

  afterEach(async () => {
    for (const context of contexts.splice(0)) await context.close();
    used.internet.fault(null);
    used.model?.forget();
  });

  after(async () => {
    await used.browser?.close();
    await used.quire?.stop();
    used.model?.stop();
    used.internet?.stop();
  });

  used.open = async (url = `http://${PAGE}/`, options = {}) => {
    const page = await openPage(used.browser, url, options);
    contexts.push(page.context());
    return new Widget(page);
  };
  return used;
}
