// What the modules share: the server's answers, and a turn of the conversation.

import type { Strings } from "./locales/en.ts";

/** A source of an answer, as POST /chat sends it. */
export interface Citation {
  marker: number;
  /** An excerpt of the passage, plain text. */
  text: string;
  source: {
    chapter: string;
    section: string;
    heading: string;
    file_path: string;
    /** Null if the address of the page is not known. */
    url: string | null;
  };
}

export interface Suggestion {
  title: string;
  url: string | null;
}

/** The last event of a complete answer. */
export interface Done {
  session_id: string;
  finish_reason: string;
  mode: "generated" | "extractive" | "none";
  fallback: string;
  /** Empty if the answer cannot be voted on. */
  answer_id?: string;
  follow_ups?: string[];
  suggestions?: Suggestion[];
  check?: { sentence: string; supported: boolean | null }[];
}

export type ChatEvent =
  | { type: "chunk"; content: string }
  | { type: "citation"; citation: Citation }
  | ({ type: "done" } & Done)
  | { type: "error"; error: string; code: string }
  /** Made by api.ts, not by the server: the host is starting, the request goes on. */
  | { type: "waking" };

/** An error that the reader is told about. */
export interface Problem {
  /** The server's sentence, or one of ours in the reader's language. */
  message: string;
  code: string;
  /** Seconds until asking again makes sense. */
  retryAfter?: number;
}

export interface Selection {
  text: string;
  /** Address of the page. */
  source: string;
}

export type Vote = "up" | "down";
export type Reason = "wrong" | "incomplete" | "unclear" | "source" | "other";

/** A question and its answer. Plain data: sessionStorage keeps it as JSON. */
export interface Turn {
  id: string;
  question: string;
  selection?: Selection;
  /** Markdown, as far as it has arrived. */
  answer: string;
  citations: Citation[];
  state: "waiting" | "waking" | "streaming" | "done" | "stopped" | "failed";
  done?: Done;
  problem?: Problem;
  vote?: Vote;
}

/** GET /widget/config.json */
export interface BookConfig {
  title: string;
  language: string;
  questions: string[];
  /** Addresses that begin with this path are pages of the Quire server. */
  local_pages: string | null;
}

/** A passage of /search. */
export interface Passage {
  chunk_id: string;
  text: string;
  chapter: string;
  section: string;
  heading: string;
  file_path: string;
  url: string | null;
}

/** What the views need of the app. `app.ts` makes it. */
export interface Context {
  /** Quire's address, without a slash at the end. */
  host: string;
  /** The `<quire-ask>` element. */
  element: HTMLElement;
  root: ShadowRoot;
  book: BookConfig;
  language: string;
  strings: Strings;
  ask(question: string, selection?: Selection): void;
  /** Ask the question of a turn again. */
  retry(turn: Turn): void;
  /** Stop the answer that is being received. */
  stop(): void;
  vote(turn: Turn, vote: Vote, reason?: Reason, note?: string): Promise<boolean>;
  /** Follow a link to a page of the book: without a reload where the site's router allows it. */
  open(url: string, excerpt?: string): void;
  /** An address of the server's answers as one that this page can link to; null if it is unsafe. */
  resolve(url: string | null): string | null;
  /** Say something in the live region. */
  announce(text: string): void;
}
