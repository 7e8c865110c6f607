// The page at /admin without a question log: it says how to keep one, and ingests.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { KEY, go, loaded, useAdmin } from "./support/admin.mjs";
import { violations } from "./support/axe.mjs";

const PAGES = fileURLToPath(new URL("sites/pages/", import.meta.url));
const MANY = 400;

let book;
const used = useAdmin({
  env: { QUESTION_LOG: "" },
  async content() {
    book = await mkdtemp(join(tmpdir(), "quire-book-"));
    await cp(PAGES, book, { recursive: true });
    return book;
  },
});
after(() => rm(book, { recursive: true, force: true }));

test("without a log the views say how to keep one", async () => {
  const page = await used.view("overview");
  await page.getByText("Set QUESTION_LOG=30d").first().waitFor();
  assert.deepEqual(await violations(page), []);
  for (const view of ["Questions", "Gaps", "Pages", "Report"]) {
    await go(page, view);
    await page.locator("main").getByText("There is no question log. Set QUESTION_LOG=30d").waitFor();
    assert.deepEqual(await violations(page), []);
  }
});

test("an ingestion shows its progress and can be cancelled", async () => {
  await mkdir(join(book, "many"));
  const text = (at) => `# Page ${at}\n\n${`The clock of harbour ${at} has a spring of its own. `.repeat(20)}\n`;
  for (let at = 0; at < MANY; at++) await writeFile(join(book, "many", `page-${at}.md`), text(at));
  const page = await used.view("overview");
  const again = page.getByRole("button", { name: "Ingest again" });
  const cancel = page.getByRole("button", { name: "Cancel" });
  await again.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("progressbar").waitFor();
  await page.getByText(/of 404 files/).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Cancel", "the focus is not lost");
  assert.ok(await again.isHidden());
  assert.deepEqual(await violations(page), []);
  await cancel.click();
  await page.getByText("The ingestion was stopped. The old index stays in use.").first().waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Ingest again");
  assert.equal(await page.getByRole("status").innerText(), "Ingestion failed");
  await rm(join(book, "many"), { recursive: true });
});

test("ingesting again and rebuilding everything end with a new index", async () => {
  await writeFile(join(book, "new.md"), "# A new page\n\nThe new page has a paragraph about lighthouses.\n");
  const page = await used.view("overview");
  const facts = (name) => page.locator("dt", { hasText: name }).locator("xpath=following-sibling::dd");
  await page.getByRole("button", { name: "Ingest again" }).click();
  await page.getByText("5 (4 unchanged, 0 removed)").waitFor();
  await page.waitForFunction(() => document.querySelector("main").innerText.includes("Completed"));
  assert.equal(await facts("Pages").first().innerText(), "5");
  await page.getByRole("button", { name: "Rebuild everything" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  assert.equal(await page.getByRole("progressbar").count(), 0);
  await page.getByRole("button", { name: "Rebuild everything" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Rebuild" }).click();
  await page.getByText("5 (0 unchanged, 0 removed)").waitFor();
  await page.waitForFunction(() => document.querySelector("main").innerText.includes("Completed"));
});

test("a file with an error is named, as text", async () => {
  await writeFile(join(book, "broken.md"), Buffer.from([0x23, 0x20, 0xff, 0xfe, 0x0a]));
  const page = await used.view("overview");
  await page.getByRole("button", { name: "Ingest again" }).click();
  await page.getByText(/^broken\.md: /).waitFor();
  await loaded(page);
  assert.deepEqual(await violations(page), []);
});

test("an uploaded book is not replaced by the content folder", async () => {
  const { stdout: archive } = await promisify(execFile)("tar", ["-cz", "-C", PAGES, "."], { encoding: "buffer" });
  const page = await used.view("overview");
  const sent = await fetch(`http://127.0.0.1:${used.quire.port}/ingest/archive`, {
    method: "POST",
    headers: { "X-API-Key": KEY },
    body: archive,
  });
  assert.equal(sent.status, 200);
  await go(page, "Gaps");
  await go(page, "Overview"); // its state is read again
  await page.getByText("Upload it again, or repeat the command.").waitFor();
  await page.getByText("an uploaded archive").waitFor();
  assert.ok(await page.getByRole("button", { name: "Ingest again" }).isHidden());
  assert.ok(await page.getByRole("button", { name: "Rebuild everything" }).isHidden());
});
