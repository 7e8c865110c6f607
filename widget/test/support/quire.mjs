// A real Quire in a process of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const START_SECONDS = 120;

/** Start Quire with a book's folder. Without `model` it answers with quotes. `env`: settings. */
export async function startQuire({ content, model, env = {} }) {
  const index = await mkdtemp(join(tmpdir(), "quire-widget-"));
  const port = await freePort();
  // PATH alone: settings of this machine, or of .env, would change the tests.
  const settings = {
    PATH: process.env.PATH,
    API_HOST: "127.0.0.1",
    API_PORT: String(port),
    QDRANT_PATH: index,
    BOOK_CONTENT_PATH: content,
    OPENAI_API_KEY: model ? "sk-test" : "",
    OPENAI_BASE_URL: model?.address ?? "",
    EMBEDDING_PROVIDER: "local",
    ANSWER_CACHE_SIZE: "0",
    RATE_LIMIT_ENABLED: "false",
    ...env,
  };
  const quire = spawn(join(root, ".venv/bin/python"), ["main.py"], {
    cwd: root,
    env: settings,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  quire.stderr.on("data", (data) => (log += data));
  const exited = once(quire, "exit");

  const stop = async () => {
    quire.kill("SIGTERM");
    await exited;
    await rm(index, { recursive: true, force: true });
  };
  const deadline = Date.now() + START_SECONDS * 1000;
  while (!(await ready(port))) {
    if (quire.exitCode !== null || Date.now() > deadline) {
      await stop();
      throw new Error(`Quire did not start:\n${log}`);
    }
    await pause(50);
  }
  return { port, index, log: () => log, stop };
}

async function ready(port) {
  const response = await fetch(`http://127.0.0.1:${port}/health`).catch(() => null);
  if (!response) return false;
  const health = await response.json();
  return health.ready && health.chunks_count > 0;
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}
