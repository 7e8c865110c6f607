// Asks POST /chat and shows the answer while it streams. All text becomes text nodes, and links must
// be http(s). So nothing in a model's answer or in the book can run code or load a resource.

const form = document.getElementById("ask");
const question = document.getElementById("question");
const send = document.getElementById("send");
const answer = document.getElementById("answer");
const sources = document.getElementById("sources");
const check = document.getElementById("check");
let session = null;
let running = null;

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  running?.abort();
  running = new AbortController();
  answer.replaceChildren();
  sources.replaceChildren();
  check.replaceChildren();
  send.disabled = true;
  try {
    await ask(question.value, running.signal);
  } catch (error) {
    if (error.name !== "AbortError") fail("The connection was lost. Please ask again.");
  } finally {
    send.disabled = false;
  }
});

async function ask(text, signal) {
  const response = await fetch("chat", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ question: text, session_id: session ?? undefined }),
    signal,
  });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    return fail(problem.error ?? "The server did not respond.");
  }
  session = response.headers.get("X-Session-Id") ?? session;
  let written = "";
  for await (const event of events(response.body)) {
    if (event.type === "chunk") {
      written += event.content;
      answer.replaceChildren(...blocks(written));
    } else if (event.type === "citation") {
      showSource(event.citation);
    } else if (event.type === "error") {
      return fail(event.error);
    } else if (event.type === "done") {
      return showCheck(event);
    }
  }
  fail("The answer is incomplete. Please ask again.");
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const frames = (rest + value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      if (frame.startsWith("data: ")) yield JSON.parse(frame.slice(6));
    }
  }
}

function showSource({ marker, source, text }) {
  const item = document.createElement("li");
  item.value = marker;
  const parts = [source.chapter, source.section, source.heading].filter(Boolean);
  const label = [...new Set(parts)].join(" › ") || source.file_path;
  item.append(safeLink(source.url, label) ?? label);
  item.title = text;
  sources.append(item);
}

// Shows whether the cited passages support the sentences that cite them.
function showCheck({ check: sentences = [], mode }) {
  if (mode === "generated" && !sources.children.length) {
    check.append(element("p", ["This answer cites no source. Do not rely on it."]));
    return;
  }
  const judged = sentences.filter(({ supported }) => supported !== null);
  if (!judged.length) return;
  const doubtful = judged.filter(({ supported }) => !supported);
  if (!doubtful.length) {
    check.append(element("p", ["All sentences with a source are supported by it."]));
    return;
  }
  check.append(
    element("p", ["Not supported by the cited source. Check there before you rely on it:"]),
    element("ul", doubtful.map(({ sentence }) => element("li", [sentence]))),
  );
}

function fail(sentence) {
  answer.append(element("p", [sentence], "error"));
}

// The Markdown in answers: paragraphs, lists, headings, fenced code, and inline markup.
function blocks(markdown) {
  const made = [];
  let lines = [];
  let list = null;
  const flush = () => {
    if (lines.length) made.push(element("p", inline(lines.join(" "))));
    lines = [];
  };
  const all = markdown.split("\n");
  for (let i = 0; i < all.length; i++) {
    const line = all[i];
    const fence = line.match(/^\s{0,3}(`{3,}|~{3,})/);
    const item = line.match(/^\s*(?:([-*+])|\d+[.)])\s+(.*)/);
    const heading = line.match(/^#{1,6}\s+(.*)/);
    if (fence) {
      flush();
      list = null;
      const code = [];
      while (++i < all.length && !all[i].trim().startsWith(fence[1])) code.push(all[i]);
      made.push(element("pre", [element("code", [code.join("\n")])]));
    } else if (item) {
      flush();
      const kind = item[1] ? "ul" : "ol";
      if (list?.localName !== kind) made.push((list = element(kind, [])));
      list.append(element("li", inline(item[2])));
    } else if (heading) {
      flush();
      list = null;
      made.push(element("h3", inline(heading[1])));
    } else if (!line.trim()) {
      flush();
      list = null;
    } else {
      list = null;
      lines.push(line);
    }
  }
  flush();
  return made;
}

function inline(text) {
  const mark =
    /\\([!-\/:-@[-`{-~])|&(lt|gt|amp);|`([^`]+)`|\*\*(.+?)\*\*|\*([^*\s][^*]*)\*|\[((?:\\.|[^\]\\])+)\]\(([^()\s]+)\)/g;
  const made = [];
  let at = 0;
  for (const found of text.matchAll(mark)) {
    made.push(text.slice(at, found.index));
    const [whole, escaped, entity, code, strong, emphasis, label, target] = found;
    if (escaped) made.push(escaped);
    else if (entity) made.push({ lt: "<", gt: ">", amp: "&" }[entity]);
    else if (code) made.push(element("code", [code]));
    else if (strong) made.push(element("strong", inline(strong)));
    else if (emphasis) made.push(element("em", inline(emphasis)));
    else {
      const shown = label.replace(/\\(.)/g, "$1");
      made.push(safeLink(target, shown, /^\d+$/.test(shown) ? "marker" : "") ?? shown);
    }
    at = found.index + whole.length;
  }
  made.push(text.slice(at));
  return made.filter((part) => part !== "");
}

function safeLink(target, label, className) {
  if (!target || !/^(https?:\/\/|\/(?!\/))/i.test(target)) return null;
  const link = element("a", [label], className);
  link.href = target;
  link.target = "_blank";
  link.rel = "noopener nofollow";
  return link;
}

function element(name, children, className) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

const state = document.getElementById("state");
fetch("health")
  .then((response) => response.json())
  .then((health) => {
    state.textContent = health.ready
      ? `${health.documents_count} pages are indexed.`
      : health.message ?? "";
  })
  .catch(() => {});
