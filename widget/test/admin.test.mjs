// The page at /admin: signing in and out, and what its author does with each view.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ADMIN, KEY, LONG, downloaded, fillLog, go, loaded, opened, question, signIn, useAdmin } from "./support/admin.mjs";
import { violations } from "./support/axe.mjs";

const used = useAdmin({ fill: fillLog });

test("a wrong key gets the server's sentence; the right one stays in memory alone", async () => {
  used.expected = /401/;
  const page = await used.open();
  assert.deepEqual(await violations(page), []);
  assert.equal(await page.evaluate(() => document.activeElement.id), "key");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").getByText("Enter the admin key.").waitFor();
  await signIn(page, "wrong");
  await page.getByRole("alert").getByText("This is not the admin key.").waitFor();
  assert.deepEqual(await violations(page), []);
  await signIn(page, "schlüssel-🔑");
  await page.getByRole("alert").getByText("characters that cannot be sent").waitFor();
  await signIn(page);
  await loaded(page);
  for (const view of ["Questions", "Gaps", "Overview"]) await go(page, view);
  const traces = await page.evaluate(() => [
    location.href,
    document.documentElement.outerHTML,
    JSON.stringify({ ...localStorage, ...sessionStorage }),
    document.cookie,
    JSON.stringify(history.state),
    JSON.stringify(Object.values(window).filter((each) => typeof each === "string")),
  ]);
  assert.ok(!traces.join().includes(KEY));
  assert.equal(await page.evaluate(async () => (await indexedDB.databases()).length + (await caches.keys()).length), 0);
  assert.ok(!page.requested.join().includes(KEY));
  await page.reload();
  await page.getByLabel("Admin key").waitFor();
  assert.equal(await page.getByLabel("Admin key").inputValue(), "");
});

test("after many wrong keys the server's sentence says how long to wait", async () => {
  used.expected = /401|429/;
  const page = await used.open(ADMIN, { extraHTTPHeaders: { "X-Forwarded-For": "203.0.113.7" } });
  for (let at = 0; at < 11; at++) {
    await signIn(page, `wrong ${at}`);
    await page.getByRole("alert").filter({ hasText: /\w/ }).waitFor();
    await page.getByRole("button", { name: "Sign in", disabled: false }).waitFor();
  }
  await page.getByRole("alert").getByText("Too many wrong keys").waitFor();
});

test("the page is used with the keyboard alone", async () => {
  const page = await used.open();
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  const press = async (...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  };
  await page.keyboard.type(KEY);
  await press("Enter");
  await loaded(page);
  assert.equal(await focused(), "Overview");
  assert.equal(await page.title(), "Overview · Quire");
  await press("Shift+Tab", "Shift+Tab"); // past "Sign out"
  assert.equal(await focused(), "Report");
  await press("Shift+Tab", "Shift+Tab", "Shift+Tab", "Enter");
  await loaded(page);
  assert.equal(await focused(), "Questions");
  assert.equal(await page.locator("nav [aria-current=page]").innerText(), "Questions");
  await page.locator("header a.skip").focus();
  await press("Enter");
  assert.equal(await focused(), "Questions");
  assert.match(page.url(), /#questions$/);
  const summary = page.locator("details.question summary").first();
  await summary.focus();
  await press("Enter");
  const remove = page.getByRole("button", { name: "Delete" });
  await remove.focus();
  await press("Enter");
  await page.getByRole("dialog", { name: "Delete this question?" }).waitFor();
  assert.equal(await focused(), "Cancel");
  await press("Escape");
  assert.equal(await page.getByRole("dialog").count(), 0);
  assert.equal(await focused(), "Delete");
  for (const name of ["Outcome", "Period"]) {
    await page.getByLabel(name).focus();
    await press("ArrowDown");
    await loaded(page);
    assert.equal(await page.evaluate(() => document.activeElement.tagName), "SELECT", "the focus stays");
  }
});

test("an answer's details: passages with links to the book, scores, vote and tokens", async () => {
  const page = await used.view("questions");
  const voted = await opened(page, "Why does the clock stop");
  assert.match(await voted.innerText(), /Not helpful/);
  assert.match(await voted.innerText(), /Incomplete/);
  const link = voted.getByRole("link", { name: /Faults/ }).first();
  assert.match(await link.getAttribute("href"), /^http:\/\/page\.example\/faults\/#/);
  assert.equal(await link.getAttribute("rel"), "noopener noreferrer nofollow");
  assert.equal(await link.getAttribute("target"), "_blank");
  const earlier = await opened(page, "Question 116 about");
  assert.match(await earlier.innerText(), /Faults/);
  assert.equal(await earlier.getByRole("link", { name: "Faults" }).count(), 0, "javascript: is no link");
  assert.match(await earlier.innerText(), /Not cited\s+Score 0\.30/);
  assert.match(await earlier.innerText(), /900 prompt, 100 completion, \$0\.0005/);
});

test("filters are in the address; the searched words are not", async () => {
  const page = await used.view("questions");
  const total = () => page.locator("main p.quiet", { hasText: /question/ }).last().innerText();
  const all = await total();
  await page.getByLabel("Vote").selectOption("Not helpful");
  await loaded(page);
  assert.match(page.url(), /#questions\?vote=down$/);
  assert.equal(await total(), "1 question");
  await page.goBack();
  await loaded(page);
  assert.equal(await total(), all);
  assert.equal(await page.getByLabel("Vote").inputValue(), "");
  await page.getByLabel("Outcome").selectOption("Unanswered");
  await loaded(page);
  assert.match(page.url(), /unanswered=true/);
  assert.equal(await page.locator(".outcome.answered").count(), 0);
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByLabel("Language").selectOption("German");
  await page.getByText("Wie tief ist das Tote Meer?").waitFor();
  await loaded(page);
  await page.getByLabel("Words in the question").fill("TOTE tief");
  await page.keyboard.press("Enter");
  await loaded(page);
  assert.equal(await total(), "1 question");
  assert.doesNotMatch(page.url(), /tote/i);
  await page.getByLabel("Words in the question").fill("nothing has these words");
  await page.keyboard.press("Enter");
  await page.getByText("No question matches.").waitFor();
  await page.getByRole("button", { name: "Clear" }).click();
  await loaded(page);
  assert.equal(await total(), all);
});

test("the list goes on, and the focus with it", async () => {
  const page = await used.view("questions");
  assert.equal(await page.locator("details.question").count(), 50);
  await page.getByRole("button", { name: "Load more" }).click();
  await page.locator("details.question").nth(99).waitFor();
  const focused = await page.evaluate(() =>
    [...document.querySelectorAll("details.question summary")].indexOf(document.activeElement),
  );
  assert.equal(focused, 50);
  await page.getByRole("button", { name: "Load more" }).click();
  await page.getByRole("button", { name: "Load more" }).waitFor({ state: "detached" });
});

test("an error below the list is shown once, and not after another try", async () => {
  const page = await used.view("questions");
  const failed = page.locator("main").getByText("Quire cannot be reached.");
  await page.route(/before=/, (route) => route.abort());
  used.expected = /ERR_FAILED/;
  for (let time = 0; time < 2; time++) {
    const request = page.waitForEvent("requestfailed");
    await page.getByRole("button", { name: "Load more" }).click();
    await request;
    await failed.first().waitFor();
  }
  assert.equal(await failed.count(), 1);
  await page.unroute(/before=/);
  await page.getByRole("button", { name: "Load more" }).click();
  await page.locator("details.question").nth(99).waitFor();
  assert.equal(await failed.count(), 0);
});

test("a conversation shows its questions in order", async () => {
  const page = await used.view("questions");
  const found = await opened(page, "And after a long rest?");
  await found.getByRole("link", { name: "Conversation" }).click();
  await loaded(page);
  await page.getByRole("heading", { level: 1, name: "Conversation" }).waitFor();
  const texts = await page.locator("details.question bdi.clipped").allInnerTexts();
  assert.deepEqual(texts, ["How do I wind the clock?", "And after a long rest?"]);
  assert.deepEqual(await violations(page), []);
});

test("exports have the filter of the list, and CSV no formulas", async () => {
  const page = await used.view("questions?outcome=refused");
  const csv = await downloaded(page, page.getByRole("button", { name: "Download as CSV" }));
  assert.equal(csv.name, "questions.csv");
  assert.match(csv.text, /Dead Sea/);
  assert.doesNotMatch(csv.text, /wind the clock/);
  assert.doesNotMatch(csv.text, /(^|[,"])=HYPERLINK/m);
  const lines = await downloaded(page, page.getByRole("button", { name: "Download as JSON Lines" }));
  assert.equal(lines.name, "questions.jsonl");
  const rows = lines.text.trim().split("\n").map((line) => JSON.parse(line));
  assert.ok(rows.length > 20);
  assert.ok(rows.every(({ outcome }) => outcome === "refused"));
  assert.ok(rows.some((row) => row.question === LONG.trim() || row.question === LONG));
});

test("one click makes a line of the golden set", async () => {
  const page = await used.view("questions");
  const answered = await opened(page, "How do I wind the clock?");
  const golden = await downloaded(page, answered.getByRole("button", { name: "Download as golden question" }));
  assert.match(golden.name, /^golden-\d+\.jsonl$/);
  assert.equal(JSON.parse(golden.text).question, "How do I wind the clock?");
  const refused = await opened(page, "How deep is the Dead Sea?");
  const line = await downloaded(page, refused.getByRole("button", { name: "Download as golden question" }));
  assert.equal(JSON.parse(line.text).answerable, false);
  used.expected = /409/;
  const talk = await opened(page, "Question 119 about");
  await talk.getByRole("button", { name: "Download as golden question" }).click();
  await talk.getByText("cites no place").waitFor();
});

test("a question is deleted after a confirmation", async () => {
  await used.ask("Please call me at home", "personal");
  const page = await used.view("questions");
  await page.getByLabel("Words in the question").fill("call me at home");
  await page.keyboard.press("Enter");
  await page.locator("main").getByText("1 question", { exact: true }).waitFor();
  const found = await opened(page, "Please call me");
  await found.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  assert.equal(await found.count(), 1);
  await found.getByRole("button", { name: "Delete" }).click();
  assert.deepEqual(await violations(page), []);
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await found.waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H1");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("No question matches.").waitFor();
});

test("a gap leads to its questions, and a page to those that cite it", async () => {
  const page = await used.view("gaps");
  const gap = page.locator(".gaps > li", { hasText: "about the harbour" }).first();
  const name = await gap.getByRole("heading").innerText();
  const [size] = (await gap.locator("strong").innerText()).split(" in ");
  await gap.getByRole("link", { name: "Show the questions" }).click();
  await loaded(page);
  await page.getByText("Only the questions of one gap.").waitFor();
  await page.locator("main").getByText(size, { exact: true }).waitFor();
  const texts = await page.locator("details.question bdi.clipped").allInnerTexts();
  assert.ok(texts.length > 1);
  assert.ok(texts.includes(name), texts.join("\n"));
  assert.ok(!texts.includes("How do I wind the clock?"));
  await go(page, "Pages");
  const row = page.getByRole("table", { name: "Pages most cited" }).getByRole("row", { name: /winding\.md/ });
  const cells = await row.getByRole("cell").allInnerTexts();
  await row.getByRole("link").last().click();
  await loaded(page);
  await page.locator("main").getByText(`${cells.at(-1)} questions`, { exact: true }).waitFor();
});

test("times are local, with UTC beside them", async () => {
  const page = await used.view("questions", { timezoneId: "Asia/Tokyo" });
  const time = page.locator("details.question time").first();
  const asked = new Date(await time.getAttribute("datetime"));
  const at = (timeZone) => asked.toLocaleTimeString("en-GB", { timeZone, hour: "2-digit", minute: "2-digit" });
  assert.ok((await time.innerText()).includes(at("Asia/Tokyo")));
  assert.ok((await time.getAttribute("title")).includes(at("UTC")));
});

test("plots have their figures as a table", async () => {
  const page = await used.view("overview");
  const figure = page.locator("figure", { hasText: "Questions per day" });
  assert.equal(await figure.getByRole("img").count(), 1);
  await figure.getByText("As a table").click();
  const rows = await figure.getByRole("row").allInnerTexts();
  assert.match(rows[0], /Day \(UTC\)\s+Answered\s+Unanswered\s+Other/);
  assert.ok(rows.length > 20);
  await page.getByLabel("Period").selectOption("7 days");
  await loaded(page);
  assert.match(page.url(), /#overview\?since=7d$/);
  await figure.getByText("As a table").click();
  assert.ok((await figure.getByRole("row").count()) <= 9);
});

test("the report is text, and a file", async () => {
  const page = await used.view("report");
  assert.match(await page.getByRole("region", { name: "Report" }).innerText(), /#/);
  const report = await downloaded(page, page.getByRole("button", { name: "Download" }));
  assert.equal(report.name, "report.md");
  assert.ok(report.text.includes("Dead Sea"));
});

test("signing out leaves nothing behind", async () => {
  const page = await used.view("questions");
  await page.getByLabel("Words in the question").fill("secret words");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Admin key").waitFor();
  assert.doesNotMatch(await page.locator("body").innerText(), /Dead Sea|harbour|tide clock/);
  await page.evaluate(() => (location.hash = "#gaps"));
  assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), "What readers ask");
  await signIn(page);
  await loaded(page);
  await go(page, "Questions");
  assert.equal(await page.getByLabel("Words in the question").inputValue(), "");
});

test("a key that the server no longer takes leads back to the form", async () => {
  used.expected = /401/;
  const page = await used.view("overview");
  used.internet.fault((request, response) => {
    response.writeHead(401, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ error: "This is not the admin key.", code: "UNAUTHORIZED", details: {} }));
    return true;
  });
  await page.getByRole("link", { name: "Gaps" }).click();
  await page.getByRole("alert").getByText("This is not the admin key.").waitFor();
  assert.equal(await page.getByRole("navigation").count(), 0);
});

test("a server that is busy or gone: a sentence, and another try", async () => {
  used.expected = /503|ERR_/;
  const page = await used.view("overview");
  const sentence = "The contents of the book are being read. Try again in a moment.";
  used.internet.fault((request, response) => {
    response.writeHead(503, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ error: sentence, code: "INDEX_NOT_READY", details: {} }));
    return true;
  });
  await page.getByRole("link", { name: "Pages" }).click();
  await page.getByText(sentence).first().waitFor();
  assert.equal(await page.getByRole("status").innerText(), sentence);
  assert.deepEqual(await violations(page), []);
  used.internet.fault((request, response) => {
    response.destroy();
    return true;
  });
  await page.getByRole("button", { name: "Try again" }).click();
  await page.locator("main").getByText("Quire cannot be reached.").waitFor();
  used.internet.fault(null);
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("heading", { name: "Most cited", exact: true }).waitFor();
});

test("Quire may be served under a path", async () => {
  const page = await used.view("questions", { url: "http://page.example/docs/ask/admin" });
  await question(page, "How do I wind").waitFor();
  assert.ok(page.requested.every((url) => url.startsWith("http://page.example/docs/ask/")), page.requested.join("\n"));
  await page.goto("http://page.example/docs/ask/admin/");
  assert.equal(page.url(), "http://page.example/docs/ask/admin");
});
