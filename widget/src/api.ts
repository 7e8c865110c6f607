// The HTTP calls: questions with their streamed answers, search, votes, the book's configuration.

import { fill } from "./i18n.ts";
import type { Strings } from "./locales/en.ts";
import type { BookConfig, ChatEvent, Passage, Problem, Reason, Vote } from "./types.ts";

export interface Question {
  question: string;
  session_id?: string;
  page?: string;
  context?: { selectedText: string; source: string };
}

export interface Ballot {
  answer_id: string;
  vote: Vote;
  reason?: Reason;
  note?: string;
}

export class ApiError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** Milliseconds. Tests shorten them. */
export const timing = {
  /** A host that has sent no response for so long may be asleep... */
  silence: 3_000,
  /** ...and is, if it does not answer /health either. */
  probe: 1_500,
  /** For one request to /health while the host wakes up. Some hosts hold it until they are up. */
  health: 10_000,
  /** First pause between two of them. Each pause is longer than the one before... */
  pause: 1_000,
  /** ...up to this. */
  longestPause: 8_000,
  /** For the host to wake up, and for a response. */
  limit: 90_000,
  /** The server sends a comment every 15 seconds: a stream is dead after so long without data. */
  idle: 60_000,
  config: 20_000,
};

const PASSAGES = 6;
const MAX_FRAME = 1_000_000;
const MAX_MESSAGE = 500;
/** Seconds. */
const DEFAULT_RETRY = 60;
const MAX_RETRY = 86_400;

/** What became of a request. */
type Reply =
  | { stream: ReadableStream<Uint8Array> }
  | { error: ApiError }
  /** It has not reached Quire: no response, or one of the platform. */
  | { lost: ApiError };

/**
 * Ask a question. Throws `ApiError`. Ends without an error if `signal` is aborted.
 *
 * A question that has not reached Quire is sent again, once, when the host is awake.
 */
export async function* ask(
  host: string,
  body: Question,
  signal: AbortSignal,
  strings: Strings,
): AsyncGenerator<ChatEvent> {
  const request = new AbortController();
  const abort = () => request.abort();
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  try {
    const sent = send(host, body, request.signal, strings);
    let reply = await within(timing.silence, sent);
    let waking = false;
    if (!reply) {
      const up = isUp(host, timing.probe, request.signal);
      waking = !(await Promise.race([sent, up])) && !signal.aborted;
      if (waking) yield { type: "waking" };
      // Not sent again while it is pending: some hosts hold a request until they are up.
      reply = await within(timing.limit, sent);
    }
    if (reply && "lost" in reply && !signal.aborted) {
      if (reply.lost.problem.code === "offline") throw reply.lost;
      yield* wake(host, request.signal, strings, waking);
      reply = await within(timing.limit, send(host, body, request.signal, strings));
    }
    if (signal.aborted) return;
    if (!reply) throw problem(strings, "unreachable");
    if (!("stream" in reply)) throw "lost" in reply ? reply.lost : reply.error;
    for await (const data of readFrames(reply.stream, timing.idle)) {
      const event = parseEvent(data);
      if (event) yield event;
      if (event?.type === "done" || event?.type === "error") return;
    }
    throw problem(strings, "interrupted");
  } catch (error) {
    if (signal.aborted) return;
    throw error instanceof ApiError ? error : problem(strings, "interrupted");
  } finally {
    signal.removeEventListener("abort", abort);
    request.abort();
  }
}

/** The book's configuration; an empty one if there is none within 20 seconds. */
export async function readConfig(host: string): Promise<BookConfig> {
  return toConfig(
    await getJson(`${host}/widget/config.json`, AbortSignal.timeout(timing.config)).catch(() => null),
  );
}

/** What was sent or saved as a configuration. */
export function toConfig(sent: any): BookConfig {
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  return {
    title: text(sent?.title),
    language: text(sent?.language),
    questions: Array.isArray(sent?.questions) ? sent.questions.map(text).filter(Boolean) : [],
    local_pages: text(sent?.local_pages) || null,
  };
}

/** Passages for words that are still being typed. Throws `ApiError`, or what `fetch` throws. */
export async function search(host: string, query: string, signal: AbortSignal): Promise<Passage[]> {
  const parameters = new URLSearchParams({ q: query, k: String(PASSAGES), typing: "true" });
  return (await getJson(`${host}/search?${parameters}`, signal)).passages;
}

/** Whether the vote was counted. It is sent even if the reader leaves the page. */
export async function sendVote(host: string, body: Ballot): Promise<boolean> {
  try {
    return (await fetch(`${host}/feedback`, { ...posted(body), keepalive: true })).ok;
  } catch {
    return false;
  }
}

function posted(body: object): RequestInit {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    credentials: "omit",
  };
}

async function getJson(url: string, signal: AbortSignal): Promise<any> {
  const response = await fetch(url, { credentials: "omit", signal });
  if (response.ok) return response.json();
  const { status } = response;
  throw fail(String(status), response.statusText, secondsUntilRetry(response));
}

async function send(
  host: string,
  body: Question,
  signal: AbortSignal,
  strings: Strings,
): Promise<Reply> {
  try {
    return await readReply(await fetch(`${host}/chat`, { ...posted(body), signal }), strings);
  } catch {
    return { lost: problem(strings, navigator.onLine ? "unreachable" : "offline") };
  }
}

async function readReply(response: Response, strings: Strings): Promise<Reply> {
  const { status, ok, headers, body } = response;
  const type = headers.get("Content-Type") ?? "";
  if (ok && body && type.startsWith("text/event-stream")) return { stream: body };
  const retryAfter = secondsUntilRetry(response);
  const sent = type.includes("json") ? await response.json().catch(() => null) : null;
  if (typeof sent?.error === "string" && typeof sent.code === "string") {
    return { error: fail(sent.code, sent.error.slice(0, MAX_MESSAGE), retryAfter) };
  }
  const error = status === 429 ? tooMany(strings, retryAfter) : problem(strings, "unreachable");
  const isPlatform = [404, 429].includes(status) || status > 501;
  return isPlatform && !headers.has("X-Request-Id") ? { lost: error } : { error };
}

/**
 * Wait until the host is awake, or for 90 seconds. Throws `ApiError` if this page may not use it.
 *
 * `told`: whether the reader knows that the host is asleep.
 */
async function* wake(
  host: string,
  signal: AbortSignal,
  strings: Strings,
  told: boolean,
): AsyncGenerator<ChatEvent> {
  const deadline = performance.now() + timing.limit;
  for (let pause = timing.pause; !signal.aborted; pause *= 1.5) {
    const milliseconds = told ? timing.health : timing.probe;
    if (await isUp(host, milliseconds, signal)) return;
    if (await isRefused(host, milliseconds, signal)) {
      // It may have woken up between the two.
      if (await isUp(host, milliseconds, signal)) return;
      throw problem(strings, "notAllowed");
    }
    if (!told && !signal.aborted) yield { type: "waking" };
    told = true;
    const next = Math.min(pause, timing.longestPause) * (0.75 + Math.random() / 2);
    if (performance.now() + next > deadline) return;
    await within(next, aborted(signal));
  }
}

/** Whether Quire itself answers, ready or not. */
async function isUp(host: string, milliseconds: number, signal: AbortSignal): Promise<boolean> {
  const sent = await probe(`${host}/health`, "GET", milliseconds, signal)
    .then((response) => response.json())
    .catch(() => null);
  return typeof sent?.uptime === "number";
}

/**
 * Whether the server is up and hides its answers from this page. To `fetch` that looks like a
 * network error, but every page may read widget.js.
 */
async function isRefused(host: string, milliseconds: number, signal: AbortSignal) {
  const sent = await probe(`${host}/widget.js`, "HEAD", milliseconds, signal).catch(() => null);
  return !!sent?.ok && !!sent.headers.get("Content-Type")?.includes("javascript");
}

function probe(url: string, method: string, milliseconds: number, signal: AbortSignal) {
  return fetch(url, {
    method,
    credentials: "omit",
    cache: "no-store",
    signal: AbortSignal.any([signal, AbortSignal.timeout(milliseconds)]),
  });
}

function fail(code: string, message: string, retryAfter?: number): ApiError {
  return new ApiError({ code, message, retryAfter });
}

/** A problem that we word. */
function problem(strings: Strings, code: keyof Strings): ApiError {
  return fail(code, strings[code]);
}

function tooMany(strings: Strings, seconds = DEFAULT_RETRY): ApiError {
  return fail("tooMany", fill(strings.tooMany, { n: seconds }), seconds);
}

/** The header Retry-After. Quire never sends a date. */
function secondsUntilRetry({ headers }: Response): number | undefined {
  const seconds = Number(headers.get("Retry-After"));
  return seconds > 0 ? Math.min(seconds, MAX_RETRY) : undefined;
}

/**
 * The data of each event in a stream of server-sent events.
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 * An event without a blank line at its end is incomplete and dropped. Throws if a frame is larger
 * than a million characters, or if no data arrives for `idle` milliseconds.
 */
export async function* readFrames(
  stream: ReadableStream<Uint8Array>,
  idle: number,
): AsyncGenerator<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let line = "";
  let frame: string[] = [];
  let size = 0;
  let afterReturn = false;
  try {
    while (true) {
      const part = await within(idle, reader.read());
      if (!part) throw new Error("idle stream");
      if (part.done) return;
      let text = decoder.decode(part.value, { stream: true });
      if (!text) continue;
      // A line feed after a carriage return belongs to the same line end.
      if (afterReturn && text.startsWith("\n")) text = text.slice(1);
      afterReturn = text ? text.endsWith("\r") : false;
      size += text.length;
      const lines = text.split(/\r\n|\r|\n/);
      const last = lines.pop()!;
      for (const end of lines) {
        const whole = line + end;
        line = "";
        if (whole.startsWith("data:")) frame.push(whole.slice(whole[5] === " " ? 6 : 5));
        else if (whole === "data") frame.push("");
        else if (!whole) {
          if (frame.length) yield frame.join("\n");
          frame = [];
          size = 0;
        }
      }
      line += last;
      if (size > MAX_FRAME) throw new Error("frame too large");
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Null for what this version does not know. Throws if the data is not JSON. */
function parseEvent(data: string): ChatEvent | null {
  const event = JSON.parse(data);
  return /^(chunk|citation|done|error)$/.test(event?.type) ? event : null;
}

/** The result of `promise`, or undefined if it takes longer. */
async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
