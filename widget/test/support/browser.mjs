// Debian's Chromium, for which every *.example is the test's internet.

import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

export async function startBrowser(internet) {
  const origins = ["docusaurus", "mkdocs", "vitepress", "quire", "page"];
  return chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      "--no-sandbox", // Chromium's own sandbox does not run as root
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--host-resolver-rules=MAP *.example 127.0.0.1:${internet.port}`,
      // As with https, without a certificate.
      `--unsafely-treat-insecure-origin-as-secure=${origins.map((o) => `http://${o}.example`)}`,
    ],
  });
}

/**
 * A page in a context of its own. `errors` collects errors of the console and of scripts.
 *
 * `init` runs in the page before its scripts. The other options are Playwright's.
 */
export async function openPage(browser, url, { init, ...options } = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    locale: "en-GB",
    reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(10_000);
  if (init) await context.addInitScript(init);
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => {
    const line = `${message.text()} (${message.location().url})`;
    // Material looks for sitemaps that do not exist.
    if (message.type() === "error" && !line.includes("/sitemap.xml")) errors.push(line);
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.errors = errors;
  await page.goto(url);
  return page;
}
