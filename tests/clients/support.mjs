// A real Quire with a small book and a scripted model, for the tests of one file.

import { after, afterEach, before } from "node:test";
import { fileURLToPath } from "node:url";
import { startModel } from "../../widget/test/support/model.mjs";
import { startQuire } from "../../widget/test/support/quire.mjs";

const SITE = "https://clock.example";
const content = fileURLToPath(new URL("../../widget/test/sites/pages/", import.meta.url));

export const QUESTION = "Which grease does the spring get?";
/** Needs the conversation: by itself it finds nothing. */
export const FOLLOW_UP = "And how often?";
export const NOT_IN_BOOK = "Who won the football championship in Brazil?";

export const GREASE = `${SITE}/winding/#grease`;
export const TITLE = "Winding > The spring > Grease";
export const ANSWER = `A drop of whale-free grease [1](${GREASE}).`;

/** `env`: settings. Without `scripted`, Quire has no model and answers with quotes. */
export function useQuire({ env = {}, scripted = true } = {}) {
  const used = {};

  before(async () => {
    used.model = scripted ? await startModel() : undefined;
    const settings = { SITE_URL: SITE, SITE_GENERATOR: "mkdocs", TEXT_FRAGMENTS: "false", ...env };
    used.quire = await startQuire({ content, model: used.model, env: settings });
    used.address = `http://127.0.0.1:${used.quire.port}`;
  });

  afterEach(() => used.model?.forget());

  after(async () => {
    await used.quire?.stop();
    used.model?.stop();
  });

  /** Ask with `ask()` and give the model's request to `answer`. Returns what `ask()` resolves to. */
  used.asked = async (ask, answer) => {
    const next = used.model.next();
    const asking = ask();
    // Whatever fails first is reported: the question, or the wait for the model.
    await answer(await Promise.race([next, asking.then(() => next)]));
    return asking;
  };
  return used;
}

export function answerQuestion(request) {
  request.say("A drop of whale-free ");
  request.say(`grease ${request.cite("whale-free grease")}.`);
  request.finish({ prompt_tokens: 100, completion_tokens: 20 });
}

export function answerFollowUp(request) {
  request.say(`Every fifth year ${request.cite("fifth year")}.`);
  request.finish();
}

/** The conversation in a request to the model, without instructions and passages. */
export function historyOf(request) {
  return request.messages.slice(1, -1).map(({ role, content }) => [role, content]);
}
