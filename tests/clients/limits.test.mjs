// A reader who asks too often: all interfaces share one allowance, and each client has its own error.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, SdkHttpError, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import {
  StreamableHTTPClientTransport as LegacyTransport,
  StreamableHTTPError,
} from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { APICallError, DefaultChatTransport } from "ai";
import OpenAI from "openai";
import { NOT_IN_BOOK, useQuire } from "./support.mjs";

const ALLOWANCE = 20;
const used = useQuire({ env: { RATE_LIMIT_ENABLED: "true" } });
const INFO = { name: "quire-tests", version: "1.0.0" };

test("a reader may ask twenty questions", async () => {
  // A greeting is answered without the model.
  for (let asked = 0; asked < ALLOWANCE; asked++) {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ question: "Hello", stream: false });
    const response = await fetch(`${used.address}/chat`, { method: "POST", headers, body });
    assert.equal(response.status, 200);
  }
});

test("openai: a RateLimitError with the time to wait", async () => {
  const client = new OpenAI({ baseURL: `${used.address}/v1`, apiKey: "any key", maxRetries: 0 });
  const messages = [{ role: "user", content: NOT_IN_BOOK }];
  await assert.rejects(client.chat.completions.create({ model: "quire", messages }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.match(error.message, /Too many requests/);
    assert.ok(Number(error.headers.get("Retry-After")) > 0);
    return true;
  });
  await client.models.list();
});

test("ai: an APICallError that may be retried", async () => {
  const transport = new DefaultChatTransport({ api: `${used.address}/ui/chat` });
  const messages = [{ id: "question", role: "user", parts: [{ type: "text", text: NOT_IN_BOOK }] }];
  await assert.rejects(transport.sendMessages({ chatId: "chat", messages }), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.deepEqual([error.statusCode, error.isRetryable], [429, true]);
    assert.match(JSON.parse(error.responseBody).error, /Too many requests/);
    return true;
  });
});

test("MCP: the tool's error, and searching goes on", async () => {
  const client = new Client(INFO, { versionNegotiation: { mode: "auto" } });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${used.address}/mcp`)));
  const refused = await client.callTool({ name: "ask", arguments: { question: NOT_IN_BOOK } });
  assert.equal(refused.isError, true);
  assert.match(refused.content[0].text, /Too many requests/);
  const found = await client.callTool({ name: "search_docs", arguments: { query: "grease" } });
  assert.ok(!found.isError);
  await client.close();
});

test("MCP: too many requests of any kind are each SDK's error of the transport", async () => {
  const url = new URL(`${used.address}/mcp`);
  const legacy = new LegacyClient(INFO);
  await legacy.connect(new LegacyTransport(url));
  const modern = new Client(INFO, { versionNegotiation: { mode: "auto" } });
  await modern.connect(new StreamableHTTPClientTransport(url));
  await assert.rejects(
    async () => {
      for (;;) await legacy.ping();
    },
    (error) => {
      assert.ok(error instanceof StreamableHTTPError);
      assert.equal(error.code, 429);
      return true;
    },
  );
  await assert.rejects(modern.listTools(), (error) => {
    assert.ok(error instanceof SdkHttpError);
    assert.equal(error.status, 429);
    return true;
  });
  await Promise.all([legacy.close(), modern.close()]);
});
