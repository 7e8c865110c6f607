// The Vercel AI SDK (package ai) against /ui/chat, and its providers against /v1 and /mcp.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createMCPClient } from "@ai-sdk/mcp";
import { createOpenAI } from "@ai-sdk/openai";
import {
  AbstractChat,
  APICallError,
  DefaultChatTransport,
  generateText,
  readUIMessageStream,
  streamText,
  validateUIMessages,
} from "ai";
import {
  ANSWER,
  answerFollowUp,
  answerQuestion,
  FOLLOW_UP,
  GREASE,
  historyOf,
  NOT_IN_BOOK,
  QUESTION,
  TITLE,
  useQuire,
} from "./support.mjs";

const used = useQuire();
const makeTransport = () => new DefaultChatTransport({ api: `${used.address}/ui/chat` });

/** What `useChat` of @ai-sdk/react is made of, without a framework. */
class Chat extends AbstractChat {
  constructor() {
    let show;
    const shown = new Promise((resolve) => (show = resolve));
    const change = (messages) => {
      state.messages = messages;
      if (messages.at(-1)?.role === "assistant" && textOf(messages.at(-1))) show();
    };
    const state = {
      status: "ready",
      error: undefined,
      messages: [],
      pushMessage: (message) => change([...state.messages, message]),
      popMessage: () => change(state.messages.slice(0, -1)),
      replaceMessage: (index, message) => change(state.messages.with(index, message)),
      snapshot: structuredClone,
    };
    super({ transport: makeTransport(), state });
    /** Resolves when the first text of an answer is there. */
    this.shown = shown;
  }
}

const question = (text) => ({ id: "question", role: "user", parts: [{ type: "text", text }] });
const send = (messages, abortSignal) =>
  makeTransport().sendMessages({ chatId: "chat", messages, trigger: "submit-message", abortSignal });

const parts = (message, type) => message.parts.filter((part) => part.type === type);
const textOf = (message) => parts(message, "text").map(({ text }) => text).join("");
const urlsOf = (message) => parts(message, "source-url").map(({ title, url }) => [title, url]);

test("the transport and readUIMessageStream give a message with sources", async () => {
  const stream = await used.asked(() => send([question(QUESTION)]), answerQuestion);
  const states = [];
  const onError = (error) => assert.fail(error);
  for await (const message of readUIMessageStream({ stream, onError })) states.push(message);

  const message = states.at(-1);
  assert.equal(textOf(message), ANSWER);
  assert.ok(new Set(states.map(textOf)).size > 2, "the text grows");
  assert.deepEqual(urlsOf(message), [[TITLE, GREASE]]);
  const [{ data }] = parts(message, "data-citation");
  assert.deepEqual([data.marker, data.source.file_path, data.source.url], [1, "winding.md", GREASE]);
  assert.ok(message.id);
  // As an application does before it stores the messages.
  await validateUIMessages({ messages: [question(QUESTION), message] });
});

test("a chat keeps the conversation and sends it with the follow-up", async () => {
  const chat = new Chat();
  await used.asked(() => chat.sendMessage({ text: QUESTION }), answerQuestion);
  assert.deepEqual([chat.status, chat.error], ["ready", undefined]);

  await used.asked(
    () => chat.sendMessage({ text: FOLLOW_UP }),
    (request) => {
      assert.deepEqual(historyOf(request), [
        ["user", QUESTION],
        ["assistant", "A drop of whale-free grease."],
      ]);
      answerFollowUp(request);
    },
  );
  assert.deepEqual(chat.messages.map(({ role }) => role), ["user", "assistant", "user", "assistant"]);
  assert.equal(textOf(chat.lastMessage), `Every fifth year [1](${GREASE}).`);
  assert.deepEqual(urlsOf(chat.lastMessage), [[TITLE, GREASE]]);
  assert.equal(new Set(chat.messages.map(({ id }) => id)).size, 4);
  await validateUIMessages({ messages: chat.messages });
});

test("a question is answered again without its first answer", async () => {
  const chat = new Chat();
  await used.asked(() => chat.sendMessage({ text: QUESTION }), answerQuestion);
  await used.asked(
    () => chat.regenerate(),
    (request) => {
      assert.deepEqual(historyOf(request), []);
      request.say("Whale-free grease.");
      request.finish();
    },
  );
  assert.equal(textOf(chat.lastMessage), "Whale-free grease.");
  assert.equal(chat.messages.length, 2);
});

test("stopping closes the model's connection and keeps the text", async () => {
  const chat = new Chat();
  let model;
  const answering = used.asked(
    () => chat.sendMessage({ text: QUESTION }),
    (request) => {
      model = request;
      request.say("A drop of whale-free grease. ");
    },
  );
  await chat.shown;
  await chat.stop();
  await Promise.all([model.closed, answering]);
  assert.deepEqual([chat.status, chat.error], ["ready", undefined]);
  assert.match(textOf(chat.lastMessage), /^A drop/);
});

test("a model that breaks off is the chat's error, and the text stays", async () => {
  const chat = new Chat();
  let model;
  const answering = used.asked(
    () => chat.sendMessage({ text: QUESTION }),
    (request) => {
      model = request;
      request.say("A drop of whale-free grease. ");
    },
  );
  await chat.shown;
  model.drop();
  await answering;
  assert.equal(chat.status, "error");
  assert.match(chat.error.message, /^[A-Z].*\.$/);
  assert.match(textOf(chat.lastMessage), /^A drop/);

  // The application may go on with what it has.
  await used.asked(() => chat.sendMessage({ text: QUESTION }), answerQuestion);
  assert.deepEqual([chat.status, textOf(chat.lastMessage)], ["ready", ANSWER]);
});

test("a question that the book does not answer has a refusal and suggestions", async () => {
  const chat = new Chat();
  await chat.sendMessage({ text: NOT_IN_BOOK });
  assert.deepEqual([chat.status, chat.error], ["ready", undefined]);
  assert.deepEqual(parts(chat.lastMessage, "data-refusal").map(({ data }) => data), [
    { finish_reason: "not_in_book" },
  ]);
  const [{ data }] = parts(chat.lastMessage, "data-suggestions");
  assert.ok(data.suggestions.length > 0);
  assert.match(textOf(chat.lastMessage), /The book does not/);
  assert.deepEqual(urlsOf(chat.lastMessage), []);
});

for (const [name, messages] of Object.entries({
  "no messages": [],
  "no question": [{ ...question(QUESTION), role: "assistant" }],
  "an empty question": [question(" ")],
  "a question of 1,001 characters": [question("a".repeat(1001))],
})) {
  test(`${name}: an APICallError`, async () => {
    await assert.rejects(send(messages), (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.equal(error.statusCode, 400);
      assert.equal(JSON.parse(error.responseBody).details.field, "messages");
      return true;
    });
  });
}

test("there is no stream to resume", async () => {
  await assert.rejects(makeTransport().reconnectToStream({ chatId: "chat" }), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.equal(error.statusCode, 404);
    return true;
  });
});

test("the provider for OpenAI turns annotations into sources", async () => {
  const model = createOpenAI({ baseURL: `${used.address}/v1`, apiKey: "any key" }).chat("quire");
  const sourcesIn = (parts) =>
    parts.filter(({ type }) => type === "source").map(({ title, url }) => [title, url]);

  const whole = await used.asked(() => generateText({ model, prompt: QUESTION }), answerQuestion);
  assert.equal(whole.text, ANSWER);
  assert.deepEqual(sourcesIn(whole.sources), [[TITLE, GREASE]]);

  const streamed = streamText({ model, prompt: QUESTION });
  const collect = async () => [await streamed.text, await streamed.sources];
  const [text, sources] = await used.asked(collect, answerQuestion);
  assert.equal(text, ANSWER);
  assert.deepEqual(sourcesIn(sources), [[TITLE, GREASE]]);
});

test("the client for MCP gives tools to any model", async () => {
  const client = await createMCPClient({ transport: { type: "http", url: `${used.address}/mcp` } });
  const tools = await client.tools();
  const options = { toolCallId: "call", messages: [] };
  const found = await tools.search_docs.execute({ query: "grease" }, options);
  assert.equal(found.structuredContent.results[0].url, GREASE);
  const answer = await used.asked(() => tools.ask.execute({ question: QUESTION }, options), answerQuestion);
  assert.equal(answer.structuredContent.answer, ANSWER);
  const refused = await tools.search_docs.execute({ query: "" }, options);
  assert.equal(refused.isError, true);
  await client.close();
});
