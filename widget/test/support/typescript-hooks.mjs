// Module hooks: `.ts` without its types, and `.css` as text, as build.mjs has them.

import { transform } from "esbuild";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

export async function load(url, context, nextLoad) {
  const { pathname } = new URL(url);
  if (!url.startsWith("file:") || !/\.(ts|css)$/.test(pathname)) return nextLoad(url, context);
  const path = fileURLToPath(url);
  const source = await readFile(path, "utf8");
  if (path.endsWith(".css")) {
    return { format: "module", shortCircuit: true, source: `export default ${JSON.stringify(source)}` };
  }
  const { code } = await transform(source, {
    loader: "ts",
    target: "node20",
    sourcefile: path,
    sourcemap: "inline",
  });
  return { format: "module", shortCircuit: true, source: code };
}
