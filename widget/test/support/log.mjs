// Entries of the question log that cannot be asked for: of another day, or too long.

import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const script = fileURLToPath(new URL("log.py", import.meta.url));

/** Write entries (see `lib.question_log.LoggedQuestion`) into the log of a running Quire. */
export function writeLog({ index }, entries) {
  const filled = entries.map((entry) => ({
    asked_at: Date.now(),
    answer: null,
    conversation: "written",
    language: "english",
    interface: "/chat",
    outcome: "answered",
    ...entry,
  }));
  return new Promise((resolve, reject) => {
    const python = execFile(
      join(root, ".venv/bin/python"),
      [script, join(index, "questions.sqlite3")],
      { cwd: root, env: { PYTHONPATH: root } },
      (error) => (error ? reject(error) : resolve()),
    );
    python.stdin.end(JSON.stringify(filled));
  });
}
