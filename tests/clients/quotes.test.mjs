// A Quire without a model: each client gets quotes with sources.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { DefaultChatTransport, readUIMessageStream } from "ai";
import OpenAI from "openai";
import { GREASE, QUESTION, useQuire } from "./support.mjs";

const used = useQuire({ scripted: false });
const QUOTE = /whale-free grease every fifth year/;

test("openai", async () => {
  const client = new OpenAI({ baseURL: `${used.address}/v1`, apiKey: "any key" });
  const messages = [{ role: "user", content: QUESTION }];
  const whole = await client.chat.completions.create({ model: "quire", messages });
  const { content, annotations } = whole.choices[0].message;
  assert.match(content, QUOTE);
  assert.equal(annotations[0].url_citation.url, GREASE);
  assert.equal(whole.quire.mode, "extractive");
});

test("ai", async () => {
  const transport = new DefaultChatTransport({ api: `${used.address}/ui/chat` });
  const messages = [{ id: "question", role: "user", parts: [{ type: "text", text: QUESTION }] }];
  const stream = await transport.sendMessages({ chatId: "chat", messages });
  let message;
  for await (message of readUIMessageStream({ stream, terminateOnError: true }));
  assert.match(message.parts.find(({ type }) => type === "text").text, QUOTE);
  assert.equal(message.parts.find(({ type }) => type === "source-url").url, GREASE);
});

test("MCP has no tool that asks", async () => {
  const client = new Client({ name: "quire-tests", version: "1.0.0" }, { versionNegotiation: { mode: "auto" } });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${used.address}/mcp`)));
  const { tools } = await client.listTools();
  assert.deepEqual(tools.map(({ name }) => name), ["search_docs", "read_page"]);
  const found = await client.callTool({ name: "search_docs", arguments: { query: QUESTION } });
  assert.match(found.content[0].text, QUOTE);
  await client.close();
});
