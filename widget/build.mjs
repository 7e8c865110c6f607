// Builds the widget and the page at /admin into handlers/assets, prints their sizes, and fails if
// they are too large.
//
//   node build.mjs          write the files
//   node build.mjs --check  fail if the files in handlers/assets differ from a build

import { build, transform } from "esbuild";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const LOADER_LIMIT = 2_048;
const TOTAL_LIMIT = 30_720;
/** Minified, not compressed. */
const ADMIN_LIMIT = 28_672;

const here = dirname(fileURLToPath(import.meta.url));
const assets = join(here, "../handlers/assets");

/** `import css from "./panel.css"` is the minified style sheet as text. */
const css = {
  name: "css",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const { code } = await transform(source, { ...common, loader: "css", sourcefile: path });
      return { contents: withoutSpaces(code), loader: "text" };
    });
  },
};

/** esbuild leaves spaces in custom properties and in `var()`. */
function withoutSpaces(code) {
  return code
    .trim()
    .replace(/--[\w-]+:[^;{}"']*/g, (declaration) => declaration.replace(/([:,(])\s+/g, "$1"))
    .replace(/(var\(--[\w-]+,)\s+/g, "$1");
}

const common = { minify: true, target: "es2022", charset: "utf8", legalComments: "none" };

const options = {
  ...common,
  absWorkingDir: here,
  bundle: true,
  write: false,
  outdir: assets,
  logLevel: "warning",
};

/** The app with everything that it imports; each dynamic import is a file of its own. */
async function buildApp() {
  const { outputFiles, metafile } = await build({
    ...options,
    entryPoints: ["src/app.ts"],
    format: "esm",
    splitting: true,
    entryNames: "widget/[name]-[hash]",
    chunkNames: "widget/[name]-[hash]",
    metafile: true,
    plugins: [css],
  });
  const locales = new Set(
    Object.entries(metafile.outputs)
      .filter(([, output]) => output.entryPoint?.startsWith("src/locales/"))
      .map(([path]) => basename(path)),
  );
  return outputFiles.map(({ path, contents }) => ({
    name: relative(assets, path),
    kind: basename(path).startsWith("app-") ? "app" : locales.has(basename(path)) ? "locale" : "part",
    contents: Buffer.from(contents),
  }));
}

async function buildLoader(app) {
  const { outputFiles } = await build({
    ...options,
    entryPoints: { widget: "src/loader.ts" },
    format: "iife",
    // Without "use strict", which TypeScript's `strict` adds.
    tsconfigRaw: { compilerOptions: { target: "ES2022", alwaysStrict: false } },
    define: { APP_FILE: JSON.stringify(app) },
    plugins: [css],
  });
  return { name: "widget.js", kind: "loader", contents: Buffer.from(outputFiles[0].contents) };
}

/** The script and the style sheet of the page at /admin. */
async function buildAdmin() {
  const { outputFiles } = await build({
    ...options,
    entryPoints: { admin: "src/admin/main.ts" },
    format: "esm",
  });
  const source = await readFile(join(here, "src/admin/admin.css"), "utf8");
  const style = await transform(source, { ...common, loader: "css", sourcefile: "admin.css" });
  return [
    { name: "admin.js", kind: "admin", contents: Buffer.from(outputFiles[0].contents) },
    { name: "admin.css", kind: "admin style", contents: Buffer.from(style.code) },
  ];
}

function report(files) {
  const rows = files
    .map(({ name, kind, contents }) => ({
      name,
      kind,
      raw: contents.length,
      gzip: gzipSync(contents, { level: 9 }).length,
    }))
    .sort((a, b) => a.name.localeCompare(b.name, "en"));
  const gzip = (kind) => rows.filter((row) => row.kind === kind).map((row) => row.gzip);
  const loader = gzip("loader")[0];
  const total = [loader, ...gzip("app"), ...gzip("part"), Math.max(0, ...gzip("locale"))];
  const sum = total.reduce((all, each) => all + each);

  const line = (...cells) =>
    console.log(cells[0].padEnd(26) + cells.slice(1).map((c) => String(c).padStart(9)).join(""));
  line("file", "bytes", "gzip");
  for (const { name, raw, gzip } of rows) line(name, raw, gzip);
  line("loader", "", loader, `of ${LOADER_LIMIT}`);
  line("with the largest locale", "", sum, `of ${TOTAL_LIMIT}`);
  const admin = rows.find((row) => row.kind === "admin").raw;
  line("admin.js", admin, "", `of ${ADMIN_LIMIT}`);
  return loader <= LOADER_LIMIT && sum <= TOTAL_LIMIT && admin <= ADMIN_LIMIT;
}

async function committed() {
  const names = await readdir(join(assets, "widget")).catch(() => []);
  return ["widget.js", "admin.js", "admin.css", ...names.map((name) => `widget/${name}`)];
}

/** Names of files that a build would add, change or remove. */
async function differences(files) {
  const wanted = new Map(files.map(({ name, contents }) => [name, contents]));
  const names = new Set([...wanted.keys(), ...(await committed())]);
  const differing = [];
  for (const name of [...names].sort()) {
    const now = await readFile(join(assets, name)).catch(() => null);
    const then = wanted.get(name);
    if (!now || !then || !then.equals(now)) differing.push(name);
  }
  return differing;
}

async function write(files) {
  const kept = new Set(files.map(({ name }) => name));
  for (const name of await committed()) {
    if (!kept.has(name)) await rm(join(assets, name), { force: true });
  }
  await mkdir(join(assets, "widget"), { recursive: true });
  for (const { name, contents } of files) await writeFile(join(assets, name), contents);
}

const app = await buildApp();
const loader = await buildLoader(app.find(({ kind }) => kind === "app").name);
const files = [loader, ...app, ...(await buildAdmin())];

if (!report(files)) {
  console.error("The widget or the page at /admin is too large.");
  process.exitCode = 1;
}
if (process.argv.includes("--check")) {
  const differing = await differences(files);
  if (differing.length) {
    console.error(`handlers/assets is not what build.mjs builds. Run \`make widget\`. Differing: ${differing.join(", ")}`);
    process.exitCode = 1;
  }
} else if (!process.exitCode) {
  await write(files);
}
