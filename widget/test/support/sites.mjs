// Sites of real generators, from the pages in test/sites/pages.
//
//   node test/support/sites.mjs   builds those whose sources have changed
//
// Exit code 3: a generator cannot be installed.
//
// Everything that is installed or built is in test/sites/.cache. Instead of lock files, which would
// have 20,000 lines, npm takes the versions of a fixed day.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const sources = fileURLToPath(new URL("../sites/", import.meta.url));
const cache = join(sources, ".cache");
const pages = join(sources, "pages");
const arabic = join(sources, "arabic");
const run = promisify(execFile);

const NPM = "install --ignore-scripts --no-audit --no-fund --no-package-lock".split(" ");
NPM.push("--before=2026-11-28"); // dependencies of dependencies too are those of one day

/**
 * origin, base: where the site is published; end: of a page's address. settings: what Quire cannot
 * read in the site's configuration. packages: the file that names the generator's packages.
 * install: in the folder `tools`; place: the pages in a project.
 */
const GENERATORS = {
  docusaurus: {
    origin: "http://docusaurus.example",
    base: "/manual/",
    end: "/",
    packages: "package.json",
    install: (tools) => run("npm", NPM, { cwd: tools }),
    async place(project) {
      const translated = "i18n/ar/docusaurus-plugin-content-docs/current";
      await cp(pages, join(project, "docs"), { recursive: true });
      await cp(arabic, join(project, translated), { recursive: true });
    },
    build: (tools, project, site) =>
      run(join(tools, "node_modules/.bin/docusaurus"), ["build", "--out-dir", site], {
        cwd: project,
      }),
  },
  mkdocs: {
    origin: "http://mkdocs.example",
    base: "/",
    end: "/",
    packages: "requirements.txt",
    async install(tools) {
      await run("python3", ["-m", "venv", "venv"], { cwd: tools });
      const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
      await run("venv/bin/python", [...pip, "-r", "requirements.txt"], { cwd: tools });
    },
    async place(project) {
      await cp(pages, join(project, "docs/en"), { recursive: true });
      await cp(arabic, join(project, "docs/ar"), { recursive: true });
    },
    build: (tools, project, site) =>
      run(join(tools, "venv/bin/mkdocs"), ["build", "--quiet", "--site-dir", site], {
        cwd: project,
      }),
  },
  vitepress: {
    origin: "http://vitepress.example",
    settings: { SITE_URL: "http://vitepress.example" },
    base: "/",
    end: ".html",
    packages: "package.json",
    install: (tools) => run("npm", NPM, { cwd: tools }),
    async place(project) {
      await cp(pages, project, { recursive: true });
      await cp(arabic, join(project, "ar"), { recursive: true });
    },
    build: (tools, project, site) =>
      run(join(tools, "node_modules/.bin/vitepress"), ["build", "--outDir", site], {
        cwd: project,
      }),
  },
};

export const SITES = Object.keys(GENERATORS);

/** { origin, base, files: folder of the built site, project: folder of its sources } */
export async function builtSite(name) {
  const generator = GENERATORS[name];
  const source = join(sources, name);
  const recipe = `${generator.place}${generator.build}`;
  const key = await hash([pages, arabic, source], recipe);
  const folder = join(cache, name, key);
  const found = { ...generator, project: join(folder, "project"), files: join(folder, "site") };
  if (await exists(found.files)) return found;

  const tools = join(cache, name);
  const packages = join(source, generator.packages);
  const installed = join(tools, `installed-${await hash([packages])}`);
  if (!(await exists(installed))) {
    await rm(tools, { recursive: true, force: true });
    await mkdir(tools, { recursive: true });
    await cp(packages, join(tools, generator.packages));
    await generator.install(tools).catch((error) => {
      throw Object.assign(error, { exitCode: 3 });
    });
    await writeFile(installed, "");
  }
  await rm(folder, { recursive: true, force: true });
  await cp(source, found.project, { recursive: true });
  await generator.place(found.project);
  await generator.build(tools, found.project, join(folder, "unfinished"));
  await rename(join(folder, "unfinished"), found.files);
  return found;
}

async function hash(paths, recipe = "") {
  const digest = createHash("sha256").update(recipe);
  for (const path of paths) {
    for (const file of await filesOf(path)) {
      digest.update(`${relative(path, file)}\0`).update(await readFile(file)).update("\0");
    }
  }
  return digest.digest("hex").slice(0, 12);
}

async function filesOf(path) {
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.path, entry.name)).sort();
}

async function exists(path) {
  return stat(path).then(
    () => true,
    () => false,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const name of SITES) {
    const start = performance.now();
    try {
      const { files } = await builtSite(name);
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      console.log(`${name}: ${relative(process.cwd(), files)} (${seconds} s)`);
    } catch (error) {
      console.error(`${name}: ${error.message}\n${error.stdout ?? ""}\n${error.stderr ?? ""}`);
      process.exitCode = error.exitCode ?? 1;
    }
  }
}
