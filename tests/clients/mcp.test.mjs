// The official MCP clients against /mcp: version 1 of the SDK speaks 2025-11-25, version 2 that and 2026-07-28.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as modern from "@modelcontextprotocol/client";
import { Client as LegacyClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as LegacyTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { McpError } from "@modelcontextprotocol/sdk/types.js";
import { ANSWER, answerQuestion, GREASE, NOT_IN_BOOK, QUESTION, useQuire } from "./support.mjs";

const used = useQuire();
const INFO = { name: "quire-tests", version: "1.0.0" };
const url = () => new URL(`${used.address}/mcp`);

/** `missing`: the code for an unknown resource. Version 2 of the SDK replaces the older -32002 by that of 2026-07-28. */
const CLIENTS = {
  "SDK 1": { version: "2025-11-25", missing: -32002, ProtocolError: McpError, connect: connectLegacy },
  "SDK 2, legacy": modernClient("2025-11-25", "legacy"),
  "SDK 2, automatic": modernClient("2026-07-28", "auto"),
  "SDK 2, pinned": modernClient("2026-07-28", { pin: "2026-07-28" }),
};

function modernClient(version, mode) {
  return { version, missing: -32602, ProtocolError: modern.ProtocolError, connect: () => connectModern(mode) };
}

/** Both clients get `call(name, arguments, options)`. Their other methods are the same. */
async function connectLegacy() {
  const client = new LegacyClient(INFO);
  await client.connect(new LegacyTransport(url()));
  client.call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
  return client;
}

async function connectModern(mode) {
  const client = new modern.Client(INFO, { versionNegotiation: { mode } });
  await client.connect(new modern.StreamableHTTPClientTransport(url()));
  client.call = (name, args, options) => client.callTool({ name, arguments: args }, options);
  return client;
}

/** What an answer's progress was, and a promise of its first text. */
function watchProgress() {
  const progress = { pieces: [], sizes: [] };
  progress.shown = new Promise((resolve) => {
    progress.onprogress = ({ message, progress: size }) => {
      progress.pieces.push(message);
      progress.sizes.push(size);
      resolve();
    };
  });
  return progress;
}

const textOf = ({ content }) => content.map(({ text }) => text).join("\n");

for (const [name, { version, missing, ProtocolError, connect }] of Object.entries(CLIENTS)) {
  describe(name, () => {
    let client;
    before(async () => (client = await connect()));
    after(() => client.close());

    test("it connects and learns what the server is", () => {
      assert.equal(client.getServerVersion().name, "The tide clock");
      assert.deepEqual(Object.keys(client.getServerCapabilities()).sort(), ["resources", "tools"]);
      assert.equal(client.transport.protocolVersion, version);
    });

    test("it lists the tools", async () => {
      const { tools } = await client.listTools();
      assert.deepEqual(tools.map(({ name }) => name), ["search_docs", "read_page", "ask"]);
      for (const tool of tools) {
        assert.equal(tool.annotations.readOnlyHint, true);
        assert.ok(tool.description && tool.inputSchema && tool.outputSchema);
      }
    });

    test("it searches, reads what it found, and asks", async () => {
      await client.listTools(); // the SDK then checks each result against the tool's output schema
      const found = await client.call("search_docs", { query: "grease", limit: 3 });
      assert.ok(!found.isError);
      assert.match(textOf(found), /whale-free grease/);
      const [best] = found.structuredContent.results;
      assert.equal(best.url, GREASE);

      const page = await client.call("read_page", { url: best.url, heading: "Grease" });
      assert.match(textOf(page), /whale-free grease/);
      assert.ok(!textOf(page).includes("blue steel"), "only the section under the heading");

      const answer = await used.asked(() => client.call("ask", { question: QUESTION }), answerQuestion);
      assert.ok(textOf(answer).startsWith(ANSWER));
      assert.equal(answer.structuredContent.sources[0].url, GREASE);
    });

    test("the answer arrives as progress while the model writes", async () => {
      const { pieces, sizes, shown, onprogress } = watchProgress();
      const answer = await used.asked(
        () => client.call("ask", { question: QUESTION }, { onprogress }),
        async (request) => {
          request.say("A drop of whale-free ");
          await shown;
          request.say(`grease ${request.cite("whale-free grease")}.`);
          request.finish();
        },
      );
      assert.equal(pieces.join(""), ANSWER);
      assert.equal(sizes.at(-1), ANSWER.length);
      assert.deepEqual(sizes, [...new Set(sizes)].sort((a, b) => a - b));
      assert.ok(textOf(answer).startsWith(ANSWER));
    });

    test("it lists the pages and reads one", async () => {
      const { resources } = await client.listResources();
      assert.deepEqual(
        resources.map(({ uri, mimeType }) => [uri, mimeType]).sort(),
        ["chimes", "faults", "index", "winding"].map((page) => [`book:///${page}.md`, "text/markdown"]),
      );
      const { resourceTemplates } = await client.listResourceTemplates();
      assert.deepEqual(resourceTemplates.map(({ uriTemplate }) => uriTemplate), ["book:///{+path}"]);
      const { contents } = await client.readResource({ uri: "book:///winding.md" });
      assert.match(contents[0].text, /^# Winding/);
    });

    test("errors that the model can react to are results", async () => {
      for (const [tool, args, says] of [
        ["search_docs", { query: 7 }, /query/],
        ["read_page", { path: "wnding.md" }, /winding\.md/],
        ["read_page", { path: "winding.md", heading: "Greese" }, /Grease/],
        ["ask", { question: "a".repeat(1001) }, /question/],
      ]) {
        const result = await client.call(tool, args);
        assert.equal(result.isError, true);
        assert.match(textOf(result), says);
      }
    });

    test("a question that the book does not answer is refused with the closest pages", async () => {
      const answer = await client.call("ask", { question: NOT_IN_BOOK });
      assert.ok(!answer.isError);
      assert.match(textOf(answer), /https:\/\/clock\.example\//);
    });

    test("errors of the protocol are exceptions", async () => {
      const isError = (code) => (error) => {
        assert.ok(error instanceof ProtocolError, String(error));
        assert.equal(error.code, code);
        return true;
      };
      await assert.rejects(client.call("buy", {}), isError(-32602));
      await assert.rejects(client.readResource({ uri: "book:///nothing.md" }), isError(missing));
    });

    test("a model that breaks off is an error that the model can react to", async () => {
      const { shown, onprogress } = watchProgress();
      const answer = await used.asked(
        () => client.call("ask", { question: QUESTION }, { onprogress }),
        async (request) => {
          request.say("A drop of whale-free grease. ");
          await shown;
          request.drop();
        },
      );
      assert.equal(answer.isError, true);
      assert.match(textOf(answer), /^[A-Z].*\.$/);
    });

    test("cancelling closes the model's connection", async () => {
      // Before 2026-07-28, the SDKs cancel with a notification, which a server without sessions cannot
      // relate to the request. Closing the client ends the stream.
      const other = await connect();
      const controller = new AbortController();
      const { shown, onprogress } = watchProgress();
      let model;
      const answering = used.asked(
        () => other.call("ask", { question: QUESTION }, { signal: controller.signal, onprogress }),
        (request) => {
          model = request;
          request.say("A drop of whale-free grease. ");
        },
      );
      await shown;
      controller.abort("no longer needed");
      await assert.rejects(answering);
      if (version !== "2026-07-28") await other.close();
      await model.closed;
      await other.close();
    });
  });
}
