// The HTTP calls against a real server that cuts, delays and splits.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { afterEach, beforeEach, test } from "node:test";
import { ApiError, ask, readConfig, readFrames, search, sendVote, timing } from "../src/api.ts";
import strings from "../src/locales/en.ts";

globalThis.navigator ??= { onLine: true };
const usual = { ...timing };
const QUIRE = { "X-Request-Id": "r1" };
const STREAM = { ...QUIRE, "Content-Type": "text/event-stream" };
const JSON_TYPE = { ...QUIRE, "Content-Type": "application/json" };
const PLATFORM = { "Content-Type": "text/html" };
const CHUNK = { type: "chunk", content: "Grüße, 世界 🌍" };
const DONE = { type: "done", session_id: "s", finish_reason: "stop", mode: "generated", fallback: "" };

let server;
let host;
let seen;
let routes;

beforeEach(async () => {
  seen = [];
  routes = { "/health": (_, response) => json(response, { uptime: 1 }) };
  server = createServer((request, response) => {
    const path = request.url.split("?")[0];
    seen.push(`${request.method} ${path}`);
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      const calls = seen.filter((line) => line.endsWith(path)).length;
      const route = routes[path] ?? ((_, response) => json(response, {}, 404, PLATFORM));
      route({ request, body, calls }, response);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `http://127.0.0.1:${server.address().port}`;
  Object.assign(timing, { silence: 5_000, probe: 2_000, health: 2_000, pause: 5, longestPause: 20 });
});

afterEach(async () => {
  Object.assign(timing, usual);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function json(response, value, status = 200, headers = JSON_TYPE) {
  response.writeHead(status, headers).end(JSON.stringify(value));
}

const frame = (event) => `data: ${JSON.stringify(event)}\n\n`;

function stream(response, ...events) {
  response.writeHead(200, STREAM).end(events.map(frame).join(""));
}

function platform(response, status = 503) {
  response.writeHead(status, PLATFORM).end("<!doctype html><title>Starting</title>");
}

async function collect(signal = new AbortController().signal, body = { question: "Why?" }) {
  const events = [];
  for await (const event of ask(host, body, signal, strings)) events.push(event);
  return events;
}

async function problem(promise) {
  const error = await promise.then(() => assert.fail("no error"), (reason) => reason);
  assert.ok(error instanceof ApiError, String(error));
  assert.equal(error.message, error.problem.message);
  return error.problem;
}

const asked = () => seen.filter((line) => line === "POST /chat").length;

// --- The stream

async function frames(...parts) {
  const bytes = ReadableStream.from(parts);
  const found = [];
  for await (const data of readFrames(bytes, 1_000)) found.push(data);
  return found;
}

const utf8 = new TextEncoder();

test("a stream is read the same however its bytes are split", async () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const text = [
      "\u{feff}: ping", "", "data: Grüße 🌍", "", "event: x", "data:two", "data", "data:  lines",
      "id: 1", "", "", "retry: 3", "", "datax: no", "data: last", "", "",
    ].join(end);
    const bytes = utf8.encode(text);
    const expected = ["Grüße 🌍", "two\n\n lines", "last"];
    assert.deepEqual(await frames(bytes), expected);
    assert.deepEqual(await frames(...[...bytes].map((byte) => Uint8Array.of(byte))), expected);
    for (let cut = 1; cut < bytes.length; cut++) {
      assert.deepEqual(await frames(bytes.slice(0, cut), bytes.slice(cut)), expected, `${cut}`);
    }
  }
});

test("mixed line ends are line ends", async () => {
  assert.deepEqual(await frames(utf8.encode("data: a\r\ndata: b\n\rdata: c\r\r")), ["a\nb", "c"]);
});

test("a frame without a blank line at its end is dropped", async () => {
  assert.deepEqual(await frames(utf8.encode("data: a\n\ndata: b\n")), ["a"]);
});

test("a frame is bounded, in one line or in many", async () => {
  const part = utf8.encode("x".repeat(10_000));
  await assert.rejects(frames(utf8.encode("data: "), ...Array(200).fill(part)), /too large/);
  await assert.rejects(frames(...Array(200).fill(utf8.encode(`data: ${"x".repeat(9_000)}\n`))), /too large/);
});

test("a long stream of small frames is not bounded, and a large frame is read in linear time", async () => {
  const small = utf8.encode("data: x\n\n".repeat(10_000));
  assert.equal((await frames(...Array(20).fill(small))).length, 200_000);
  const tiny = Array(90_000).fill(utf8.encode("0123456789"));
  const [one] = await frames(utf8.encode("data:"), ...tiny, utf8.encode("\n\n"));
  assert.equal(one.length, 900_000);
});

// --- Asking

test("a question is sent as JSON, without cookies or headers of ours", async () => {
  let request;
  routes["/chat"] = (received, response) => {
    request = received;
    stream(response, CHUNK, DONE);
  };
  const body = { question: "Why?", session_id: "s", page: "https://x.example/", context: { selectedText: "a", source: "b" } };
  assert.deepEqual(await collect(undefined, body), [CHUNK, DONE]);
  assert.deepEqual(JSON.parse(request.body), body);
  assert.equal(request.request.headers["content-type"], "application/json");
  assert.equal(request.request.headers.cookie, undefined);
  assert.deepEqual(seen, ["POST /chat"]);
});

test("events that this version does not know are ignored", async () => {
  routes["/chat"] = (_, response) =>
    stream(response, { type: "tool" }, { type: 3 }, null, 3, CHUNK, DONE);
  assert.deepEqual(await collect(), [CHUNK, DONE]);
});

test("nothing is read after the last event, and the connection is closed", async () => {
  let closed;
  routes["/chat"] = (_, response) => {
    closed = new Promise((resolve) => response.on("close", resolve));
    response.writeHead(200, STREAM).write(frame(DONE) + frame(CHUNK));
  };
  assert.deepEqual(await collect(), [DONE]);
  await closed;
});

test("an error event is the server's last word", async () => {
  const failed = { type: "error", error: "The language model failed.", code: "UPSTREAM_ERROR" };
  routes["/chat"] = (_, response) => stream(response, CHUNK, failed);
  assert.deepEqual(await collect(), [CHUNK, failed]);
});

for (const [name, end] of Object.entries({
  "ends early": (response) => response.end(frame(CHUNK)),
  "ends within a frame": (response) => response.end(frame(CHUNK) + frame(DONE).trimEnd()),
  "breaks off": (response) => response.write(frame(CHUNK), () => response.destroy()),
  "is not JSON": (response) => response.end(`${frame(CHUNK)}data: {"type":\n\n${frame(DONE)}`),
})) {
  test(`an answer that ${name} is interrupted, and not asked for again`, async () => {
    routes["/chat"] = (_, response) => end(response.writeHead(200, STREAM));
    const events = [];
    const asking = (async () => {
      for await (const event of ask(host, { question: "Why?" }, new AbortController().signal, strings)) {
        events.push(event);
      }
    })();
    assert.deepEqual(await problem(asking), { code: "interrupted", message: strings.interrupted, retryAfter: undefined });
    assert.deepEqual(events, [CHUNK]);
    assert.deepEqual(seen, ["POST /chat"]);
  });
}

test("a stream without data for long is dead; comments keep it alive", async () => {
  timing.idle = 200;
  let pings;
  routes["/chat"] = (_, response) => {
    response.writeHead(200, STREAM).write(frame(CHUNK));
    let left = 8;
    pings = setInterval(() => (left-- > 0 ? response.write(": ping\n\n") : clearInterval(pings)), 50);
  };
  const started = performance.now();
  assert.equal((await problem(collect())).code, "interrupted");
  assert.ok(performance.now() - started > 500);
});

test("the reader's abort is not an error, and closes the connection", async () => {
  const reader = new AbortController();
  let closed;
  routes["/chat"] = (_, response) => {
    closed = new Promise((resolve) => response.on("close", resolve));
    response.writeHead(200, STREAM).write(frame(CHUNK));
  };
  const events = [];
  for await (const event of ask(host, { question: "Why?" }, reader.signal, strings)) {
    events.push(event);
    reader.abort();
  }
  assert.deepEqual(events, [CHUNK]);
  await closed;
});

test("an abort before the response, while the host wakes up, or before asking is not an error", async () => {
  const reader = new AbortController();
  routes["/chat"] = () => setTimeout(() => reader.abort(), 20);
  assert.deepEqual(await collect(reader.signal), []);
  assert.deepEqual(await collect(AbortSignal.abort()), []);
  assert.equal(asked(), 1);

  const later = new AbortController();
  routes["/chat"] = (_, response) => platform(response);
  routes["/health"] = (_, response) => platform(response);
  for await (const event of ask(host, { question: "Why?" }, later.signal, strings)) {
    assert.deepEqual(event, { type: "waking" });
    setTimeout(() => later.abort(), 20);
  }
  assert.equal(asked(), 2);
});

test("a reader who leaves the loop closes the connection", async () => {
  let closed;
  routes["/chat"] = (_, response) => {
    closed = new Promise((resolve) => response.on("close", resolve));
    response.writeHead(200, STREAM).write(frame(CHUNK));
  };
  for await (const _ of ask(host, { question: "Why?" }, new AbortController().signal, strings)) break;
  await closed;
});

// --- Errors

test("the server's own sentence is shown, with its code and Retry-After", async () => {
  routes["/chat"] = (_, response) =>
    json(response, { error: "Slow down.", code: "RATE_LIMITED" }, 429, { ...JSON_TYPE, "Retry-After": "7" });
  assert.deepEqual(await problem(collect()), { message: "Slow down.", code: "RATE_LIMITED", retryAfter: 7 });
  assert.deepEqual(seen, ["POST /chat"]);
});

test("a bad Retry-After is ignored, and a sentence has an end", async () => {
  for (const value of ["soon", "-3", "", "Sun, 06 Nov 1994 08:49:37 GMT"]) {
    routes["/chat"] = (_, response) =>
      json(response, { error: "x".repeat(9_999), code: "BUSY" }, 503, { ...JSON_TYPE, "Retry-After": value });
    const { message, retryAfter } = await problem(collect());
    assert.equal(retryAfter, undefined);
    assert.equal(message.length, 500);
  }
});

test("errors of others than Quire are ours to word", async () => {
  for (const [status, headers, body] of [
    [413, PLATFORM, "<h1>413</h1>"],
    [500, PLATFORM, ""],
    [200, PLATFORM, "<h1>Welcome</h1>"],
    [401, JSON_TYPE, '{"error":'],
    [403, JSON_TYPE, '{"error": {"code": 3}}'],
    [502, QUIRE, ""],
  ]) {
    routes["/chat"] = (_, response) => response.writeHead(status, headers).end(body);
    assert.equal((await problem(collect())).message, strings.unreachable, String(status));
  }
  assert.equal(asked(), 6);
});

// --- A sleeping host

for (const status of [404, 429, 502, 503, 504, 530]) {
  test(`a platform's ${status} wakes the host, then the question is sent again`, async () => {
    routes["/chat"] = ({ calls }, response) => (calls > 1 ? stream(response, CHUNK, DONE) : platform(response, status));
    routes["/health"] = ({ calls }, response) => (calls > 3 ? json(response, { uptime: 1 }) : platform(response));
    assert.deepEqual(await collect(), [{ type: "waking" }, CHUNK, DONE]);
    assert.equal(asked(), 2);
  });
}

test("a platform's JSON is not Quire's", async () => {
  const theirs = { status: "error", code: 404, message: "Application not found" };
  routes["/chat"] = ({ calls }, response) =>
    calls > 1 ? stream(response, DONE) : json(response, theirs, 404, { "Content-Type": "application/json" });
  routes["/health"] = ({ calls }, response) =>
    calls > 1 ? json(response, { uptime: 1 }, 503) : json(response, theirs, 404, { "Content-Type": "application/json" });
  assert.deepEqual(await collect(), [{ type: "waking" }, DONE]);
});

test("the question is sent again once at the most", async () => {
  routes["/chat"] = (_, response) => platform(response, 503);
  assert.equal((await problem(collect())).code, "unreachable");
  assert.equal(asked(), 2);
  routes["/chat"] = (_, response) =>
    response.writeHead(429, { ...PLATFORM, "Retry-After": "9" }).end();
  assert.deepEqual(await problem(collect()), {
    code: "tooMany", message: "Too many questions. Try again in 9 seconds.", retryAfter: 9,
  });
});

test("a connection that failed although the host is up is tried again, without a word", async () => {
  routes["/chat"] = ({ calls }, response) => (calls > 1 ? stream(response, DONE) : response.destroy());
  assert.deepEqual(await collect(), [DONE]);
});

test("a host that never wakes up is unreachable after the limit", async () => {
  timing.limit = 1_000;
  routes["/chat"] = (_, response) => response.destroy();
  routes["/health"] = (_, response) => response.destroy();
  assert.equal((await problem(collect())).message, strings.unreachable);
  assert.ok(seen.filter((line) => line === "GET /health").length > 3);
  assert.equal(asked(), 2);
});

test("a request that the platform holds is waited for, not sent twice", async () => {
  Object.assign(timing, { silence: 50, probe: 100 });
  routes["/health"] = () => {};
  routes["/chat"] = (_, response) => setTimeout(stream, 1_000, response, CHUNK, DONE);
  assert.deepEqual(await collect(), [{ type: "waking" }, CHUNK, DONE]);
  assert.equal(asked(), 1);
});

test("a server that is up and slow is not asleep", async () => {
  timing.silence = 50;
  routes["/chat"] = (_, response) => setTimeout(stream, 1_000, response, DONE);
  assert.deepEqual(await collect(), [DONE]);
  assert.deepEqual(seen, ["POST /chat", "GET /health"]);
});

test("no response at all is given up", async () => {
  Object.assign(timing, { silence: 50, limit: 200 });
  routes["/chat"] = () => {};
  assert.equal((await problem(collect())).code, "unreachable");
  assert.equal(asked(), 1);
});

test("an offline reader is told so", async () => {
  Object.defineProperty(navigator, "onLine", { value: false, configurable: true });
  try {
    routes["/chat"] = (_, response) => response.destroy();
    assert.equal((await problem(collect())).message, strings.offline);
    assert.deepEqual(seen, ["POST /chat"]);
  } finally {
    Object.defineProperty(navigator, "onLine", { value: true, configurable: true });
  }
});

test("a refused page is told so", async () => {
  routes["/chat"] = (_, response) => response.destroy();
  routes["/health"] = (_, response) => response.destroy();
  routes["/widget.js"] = (_, response) => response.writeHead(200, { "Content-Type": "text/javascript" }).end();
  assert.equal((await problem(collect())).message, strings.notAllowed);
  assert.equal(asked(), 1);
});

// --- The other calls

test("the configuration is read, and an empty one stands in for a bad one", async () => {
  const config = { title: "Quire", language: "en", questions: ["Why?"], local_pages: "/book/" };
  const empty = { title: "", language: "", questions: [], local_pages: null };
  routes["/widget/config.json"] = (_, response) => json(response, config);
  assert.deepEqual(await readConfig(host), config);
  routes["/widget/config.json"] = (_, response) => json(response, { title: "Quire" });
  assert.deepEqual(await readConfig(host), { ...empty, title: "Quire" });
  routes["/widget/config.json"] = (_, response) => platform(response, 200);
  assert.deepEqual(await readConfig(host), empty);
  routes["/widget/config.json"] = (_, response) => response.end("null");
  assert.deepEqual(await readConfig(host), empty);
  routes["/widget/config.json"] = (_, response) => json(response, config, 500);
  assert.deepEqual(await readConfig(host), empty);
  timing.config = 50;
  routes["/widget/config.json"] = () => {};
  assert.deepEqual(await readConfig(host), empty);
});

test("a search is for typing", async () => {
  const passage = { text: "t", chapter: "c", section: "s", heading: "h", url: null };
  let url;
  routes["/search"] = ({ request }, response) => {
    url = request.url;
    json(response, { passages: [passage] });
  };
  assert.deepEqual(await search(host, "a&b é", new AbortController().signal), [passage]);
  assert.equal(url, "/search?q=a%26b+%C3%A9&k=6&typing=true");
  routes["/search"] = (_, response) => response.writeHead(429, { "Retry-After": "5" }).end();
  assert.equal((await problem(search(host, "ab", new AbortController().signal))).retryAfter, 5);
});

test("a vote is counted or not", async () => {
  let body;
  routes["/feedback"] = (received, response) => {
    body = received.body;
    json(response, { counted: true });
  };
  assert.equal(await sendVote(host, { answer_id: "a", vote: "down", reason: "wrong" }), true);
  assert.deepEqual(JSON.parse(body), { answer_id: "a", vote: "down", reason: "wrong" });
  for (const status of [404, 409]) {
    routes["/feedback"] = (_, response) => json(response, {}, status);
    assert.equal(await sendVote(host, { answer_id: "a", vote: "up" }), false);
  }
  routes["/feedback"] = (_, response) => response.destroy();
  assert.equal(await sendVote(host, { answer_id: "a", vote: "up" }), false);
});
