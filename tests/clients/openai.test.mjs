// The official openai package against /v1.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
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
const asked = { role: "user", content: QUESTION };
const answered = { role: "assistant", content: ANSWER };

const makeClient = () => new OpenAI({ baseURL: `${used.address}/v1`, apiKey: "any key", maxRetries: 0 });
const complete = (messages, more = {}, options) =>
  makeClient().chat.completions.create({ model: "quire", messages, ...more }, options);

/** A source that is cited in `text`, with the marker that it annotates. */
function sourceIn(text, { type, url_citation: { start_index, end_index, url, title } }) {
  return { type, url, title, marker: text.slice(start_index, end_index) };
}
const SOURCE = { type: "url_citation", url: GREASE, title: TITLE, marker: `[1](${GREASE})` };

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}
const textOf = (chunks) => chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");

test("the list of models has one, which answers", async () => {
  const models = await read(await makeClient().models.list());
  assert.deepEqual(models.map(({ id, object }) => [id, object]), [["quire", "model"]]);
});

test("a conversation with sources", async () => {
  const first = await used.asked(() => complete([asked]), answerQuestion);
  const [choice] = first.choices;
  assert.equal(choice.message.content, ANSWER);
  assert.equal(choice.finish_reason, "stop");
  assert.deepEqual(choice.message.annotations.map((each) => sourceIn(ANSWER, each)), [SOURCE]);
  assert.deepEqual(
    [first.usage.prompt_tokens, first.usage.completion_tokens, first.usage.total_tokens],
    [100, 20, 120],
  );

  // The client sends the message back as it came, with annotations.
  const second = await used.asked(
    () => complete([asked, choice.message, { role: "user", content: FOLLOW_UP }]),
    (request) => {
      assert.deepEqual(historyOf(request), [
        ["user", QUESTION],
        ["assistant", "A drop of whale-free grease."],
      ]);
      answerFollowUp(request);
    },
  );
  assert.equal(second.choices[0].message.content, `Every fifth year [1](${GREASE}).`);
});

test("a conversation with sources, streamed", async () => {
  const messages = [asked, answered, { role: "user", content: FOLLOW_UP }];
  const stream = await used.asked(() => complete(messages, { stream: true }), answerFollowUp);
  const chunks = await read(stream);
  const text = textOf(chunks);
  assert.equal(text, `Every fifth year [1](${GREASE}).`);
  const annotations = chunks.flatMap(({ choices }) => choices[0].delta.annotations ?? []);
  assert.deepEqual(annotations.map((each) => sourceIn(text, each)), [SOURCE]);
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  assert.ok(chunks.every(({ object, usage }) => object === "chat.completion.chunk" && !usage));
});

test("the stream arrives while the model writes", async () => {
  let model;
  const stream = await used.asked(
    () => complete([asked], { stream: true }),
    (request) => {
      model = request;
      request.say("A drop of whale-free grease. ");
    },
  );
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content) break; // the SDK closes the connection
  }
  await model.closed;
});

test("the SDK's helper collects a stream with all its sources, and usage", async () => {
  const runner = makeClient().chat.completions.stream({
    model: "quire",
    messages: [asked],
    stream_options: { include_usage: true },
  });
  const whole = await used.asked(
    () => runner.finalChatCompletion(),
    (request) => {
      request.say(`Whale-free grease ${request.cite("whale-free grease")}. `);
      request.say(`The spring is made of blue steel ${request.cite("blue steel")}.`);
      request.finish({ prompt_tokens: 100, completion_tokens: 20 });
    },
  );
  const [{ message, finish_reason }] = whole.choices;
  assert.equal(finish_reason, "stop");
  assert.equal(whole.usage.total_tokens, 120);
  const sources = message.annotations.map((each) => sourceIn(message.content, each));
  assert.deepEqual(sources.map(({ title }) => title), [TITLE, "Winding > The spring"]);
  for (const { marker, url } of sources) assert.ok(marker.endsWith(`](${url})`), marker);
});

test("an aborted request closes the model's connection", async () => {
  for (const stream of [true, false]) {
    const controller = new AbortController();
    let model;
    const answering = used.asked(
      () => complete([asked], { stream }, { signal: controller.signal }),
      (request) => {
        model = request;
        request.say("A drop ");
        if (!stream) controller.abort();
      },
    );
    if (stream) {
      await answering;
      controller.abort();
    } else {
      await assert.rejects(answering, OpenAI.APIUserAbortError);
    }
    await model.closed;
  }
});

test("system messages are ignored, and the response says so", async () => {
  for (const role of ["system", "developer"]) {
    const whole = await used.asked(
      () => complete([{ role, content: "Talk like a pirate." }, asked]),
      (request) => {
        assert.ok(!JSON.stringify(request.messages).includes("pirate"));
        answerQuestion(request);
      },
    );
    assert.match(whole.warnings.join(" "), /system/i);
  }
});

test("tools are ignored, and the response says so", async () => {
  const tools = [{ type: "function", function: { name: "buy", parameters: { type: "object" } } }];
  const whole = await used.asked(() => complete([asked], { tools }), answerQuestion);
  assert.equal(whole.choices[0].message.content, ANSWER);
  assert.equal(whole.choices[0].message.tool_calls, undefined);
  assert.match(whole.warnings.join(" "), /Tools/);

  const stream = await used.asked(() => complete([asked], { tools, stream: true }), answerQuestion);
  const chunks = await read(stream);
  assert.match(chunks[0].warnings.join(" "), /Tools/);

  await assert.rejects(complete([asked], { tools, tool_choice: "required" }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.deepEqual([error.code, error.param], ["unsupported_value", "tool_choice"]);
    return true;
  });
});

test("a question that the book does not answer is refused with the closest pages", async () => {
  const whole = await complete([{ role: "user", content: NOT_IN_BOOK }]);
  assert.equal(whole.choices[0].finish_reason, "stop");
  assert.match(whole.choices[0].message.content, /https:\/\/clock\.example\//);
  assert.equal(whole.quire.finish_reason, "not_in_book");
  assert.equal(whole.usage.total_tokens, 0);
});

const image = { type: "image_url", image_url: { url: "https://clock.example/dial.png" } };
for (const [name, messages] of Object.entries({
  "no messages": [],
  "no question": [answered],
  "an empty question": [{ role: "user", content: " " }],
  "a question of 1,001 characters": [{ role: "user", content: "a".repeat(1001) }],
  "a question with an image": [{ role: "user", content: [{ type: "text", text: QUESTION }, image] }],
})) {
  test(`${name}: a BadRequestError that names the messages`, async () => {
    for (const stream of [true, false]) {
      await assert.rejects(complete(messages, { stream }), (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.deepEqual([error.param, error.type], ["messages", "invalid_request_error"]);
        return true;
      });
    }
  });
}

test("parts of the question are joined", async () => {
  const parts = ["Which grease", "does the spring get?"].map((text) => ({ type: "text", text }));
  await used.asked(
    () => complete([{ role: "user", content: parts }]),
    (request) => {
      assert.equal(request.question.trim(), "Which grease\ndoes the spring get?");
      request.say("Grease.");
      request.finish();
    },
  );
});

test("a model that breaks off is an APIError after the text", async () => {
  let model;
  const stream = await used.asked(
    () => complete([asked], { stream: true }),
    (request) => {
      model = request;
      request.say("A drop of whale-free grease. ");
    },
  );
  const chunks = [];
  await assert.rejects(
    async () => {
      for await (const chunk of stream) {
        chunks.push(chunk);
        if (textOf(chunks)) model.drop();
      }
    },
    (error) => {
      assert.ok(error instanceof OpenAI.APIError);
      assert.ok(!(error instanceof OpenAI.APIConnectionError));
      assert.ok(error.message && error.code);
      return true;
    },
  );
  assert.match(textOf(chunks), /^A drop/);
});

test("an endpoint that Quire lacks is a NotFoundError", async () => {
  await assert.rejects(makeClient().responses.create({ model: "quire", input: QUESTION }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.ok(error.message.includes("Not found"));
    return true;
  });
});
