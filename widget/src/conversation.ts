// The turns of this visit, kept in sessionStorage.

import { toConfig } from "./api.ts";
import type { BookConfig, Citation, Selection, Turn } from "./types.ts";

const MOST_TURNS = 20;
const MOST_CHARACTERS = 200_000;

export class Conversation {
  session = newId();
  turns: Turn[] = [];
  /** As it was on the page before. */
  book: BookConfig = toConfig(null);
  readonly #key: string;

  /** `interrupted`: what the reader is told about an answer that was being received. */
  constructor(key: string, interrupted: string) {
    this.#key = key;
    try {
      const saved = JSON.parse(sessionStorage.getItem(key)!);
      this.book = toConfig(saved.book);
      this.turns = saved.turns.map(readTurn).filter(Boolean).slice(-MOST_TURNS);
      if (/^[\w-]{8,128}$/.test(saved.session)) this.session = saved.session;
    } catch {
      // Nothing is saved, or not by this code, or the browser forbids it.
    }
    for (const turn of this.turns) {
      if (!isRunning(turn)) continue;
      turn.state = "failed";
      turn.problem = { message: interrupted, code: "INTERRUPTED" };
    }
  }

  add(question: string, selection?: Selection): Turn {
    const turn: Turn = {
      id: newId(),
      question,
      ...(selection && { selection }),
      answer: "",
      citations: [],
      state: "waiting",
    };
    this.turns.push(turn);
    return turn;
  }

  remove(turn: Turn): void {
    this.turns = this.turns.filter((each) => each !== turn);
  }

  clear(): void {
    this.turns = [];
    this.session = newId();
    this.save();
  }

  save(): void {
    const turns = this.turns.slice(-MOST_TURNS);
    let text: string;
    do text = JSON.stringify({ session: this.session, turns, book: this.book });
    while (text.length > MOST_CHARACTERS && turns.shift());
    try {
      sessionStorage.setItem(this.#key, text);
    } catch {
      // Full, or forbidden: the conversation lasts until the next page.
    }
  }
}

export function isRunning(turn: Turn): boolean {
  return turn.state === "waiting" || turn.state === "waking" || turn.state === "streaming";
}

/** A random UUID. `crypto.randomUUID` is missing on pages without https. */
function newId(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const STATES = ["waiting", "waking", "streaming", "done", "stopped", "failed"];

/** What was saved, if it has the shape of a turn: other code of the site may write there too. */
function readTurn(saved: any): Turn | null {
  const strings = [saved?.id, saved?.question, saved?.answer];
  if (!strings.every((each) => typeof each === "string") || !STATES.includes(saved.state)) return null;
  const { id, question, answer, state, selection, citations, done, problem, vote } = saved;
  return {
    id,
    question,
    answer,
    state,
    citations: Array.isArray(citations) ? citations.filter(isCitation) : [],
    ...(typeof selection?.text === "string" && { selection }),
    ...(typeof done?.finish_reason === "string" && { done }),
    ...(typeof problem?.message === "string" && { problem }),
    ...((vote === "up" || vote === "down") && { vote }),
  };
}

function isCitation(saved: any): saved is Citation {
  return (
    Number.isInteger(saved?.marker) && typeof saved.text === "string" && typeof saved.source === "object"
  );
}
