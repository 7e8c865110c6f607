// One site with its Quire, model and browser, for the tests of a file.

import { after, before } from "node:test";
import { openPage, startBrowser } from "./browser.mjs";
import { startInternet } from "./internet.mjs";
import { startModel } from "./model.mjs";
import { startQuire } from "./quire.mjs";
import { builtSite } from "./sites.mjs";
import { Widget } from "./widget.mjs";

/** Opened before the tests of the file and closed after them. `env`: settings of Quire. */
export function useSite(name, { env = {}, scripted = true } = {}) {
  const used = {};
  const contexts = [];

  before(async () => {
    used.site = await builtSite(name);
    used.internet = await startInternet();
    used.model = scripted ? await startModel() : undefined;
    const { origin, base, files, project } = used.site;
    used.internet.site(new URL(origin).host, files, { base });
    const settings = { ...used.site.settings, ...env };
    used.quire = await startQuire({ content: project, model: used.model, env: settings });
    used.internet.quire(used.quire);
    used.browser = await startBrowser(used.internet);
  });

  after(async () => {
    await used.browser?.close();
    await used.quire?.stop();
    used.model?.stop();
    used.internet?.stop();
  });

  /** Address of a page of the site: "", "winding", "ar". */
  used.address = (page = "") =>
    used.site.origin + used.site.base + (page && page !== "ar" ? page + used.site.end : page && "ar/");

  /** A page of the site in a context of its own. */
  used.open = async (page = "", options = {}) => {
    const opened = await openPage(used.browser, used.address(page), options);
    contexts.push(opened.context());
    return new Widget(opened, options.strings);
  };

  /** Close the pages of the last test. */
  used.close = async () => {
    for (const context of contexts.splice(0)) await context.close();
    used.internet.fault(null);
    used.model?.forget();
  };
  return used;
}
