// A page with the widget's modules, for tests of views without a server.

import { build } from "esbuild";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const ADDRESS = "http://page.example/docs/";
const sources = fileURLToPath(new URL("../../src/", import.meta.url));

const css = {
  name: "css",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => ({ contents: await readFile(path, "utf8"), loader: "text" }));
  },
};

/** A script that defines `window.parts`: what `exports` (the text of a module) exports. */
export async function bundleParts(exports) {
  const { outputFiles } = await build({
    stdin: { contents: exports, resolveDir: sources, loader: "ts" },
    bundle: true,
    write: false,
    format: "iife",
    globalName: "parts",
    target: "es2022",
    plugins: [css],
  });
  return outputFiles[0].text;
}

/** Open a page on which `window.parts` has what `exports` exports. */
export async function openParts(browser, exports, options = {}) {
  const context = await browser.newContext({ viewport: { width: 900, height: 800 }, ...options });
  const page = await context.newPage();
  page.errors = [];
  page.requests = [];
  page.on("console", (message) => {
    if (message.type() === "error") page.errors.push(message.text());
  });
  page.on("pageerror", (error) => page.errors.push(String(error)));
  await page.route("**", (route) => {
    page.requests.push(route.request().url());
    return route.fulfill({ contentType: "text/html", body: "<!doctype html><html lang=en><title>Page</title>" });
  });
  await page.goto(ADDRESS);
  page.requests.length = 0;
  await page.addScriptTag({ content: await bundleParts(exports) });
  return page;
}
