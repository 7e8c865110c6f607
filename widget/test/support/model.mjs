// A language model that says what the test says, when the test says it.

import { once } from "node:events";
import { createServer } from "node:http";

/** The passages of a prompt: number, headings and text of each. */
function passagesOf(messages) {
  const prompt = messages.at(-1).content;
  return [...prompt.matchAll(/<passage number="(\d+)" from="(.*?)">\n([^]*?)\n<\/passage>/g)].map(
    ([, number, from, text]) => ({ number: Number(number), from, text }),
  );
}

/** One request for an answer. */
class Request {
  #response;

  constructor(messages, response) {
    this.messages = messages;
    this.passages = passagesOf(messages);
    this.question = messages.at(-1).content.split("Question: ").at(-1);
    this.#response = response;
    /** Resolves when Quire has closed the connection, e.g. because the reader stopped. */
    this.closed = once(response, "close");
  }

  /** The marker of the passage whose text has `words`: `[2]`. */
  cite(words) {
    const found = this.passages.find(({ text }) => text.includes(words));
    if (!found) throw new Error(`No passage has ${words}: ${JSON.stringify(this.passages)}`);
    return `[${found.number}]`;
  }

  #send(choice) {
    this.#response.write(`data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`);
  }

  say(text) {
    this.#send({ delta: { content: text } });
  }

  /** `usage`: the tokens to report, as `{ prompt_tokens, completion_tokens }`. */
  finish(usage) {
    this.#send({ delta: {}, finish_reason: "stop" });
    if (usage) this.#response.write(`data: ${JSON.stringify({ choices: [], usage })}\n\n`);
    this.#response.end("data: [DONE]\n\n");
  }

  /** Abort the connection in the middle of the answer. */
  drop() {
    this.#response.destroy();
  }
}

/** A server with OpenAI's API. `next()` gives the next question to the test. */
export async function startModel() {
  let waiting = [];
  const answerByItself = (request) => {
    request.say("The book says this. ");
    if (request.passages.length) request.say(`${request.passages[0].text.split("\n\n").at(-1)} [1]`);
    request.finish();
  };

  const server = createServer(async (incoming, response) => {
    let body = "";
    for await (const part of incoming) body += part;
    if (incoming.method !== "POST") return response.end('{"data": []}');
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    const request = new Request(JSON.parse(body).messages, response);
    (waiting.shift() ?? answerByItself)(request);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    address: `http://127.0.0.1:${server.address().port}/v1`,
    /** The next request, to be answered by the test. Call it before the question is asked. */
    next: () =>
      new Promise((resolve, reject) => {
        const late = setTimeout(() => reject(new Error("The model was not asked.")), 60_000);
        waiting.push((request) => {
          clearTimeout(late);
          resolve(request);
        });
      }),
    /** Nobody waits for a request any more. */
    forget: () => (waiting = []),
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
