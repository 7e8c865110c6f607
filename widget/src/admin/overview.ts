// Overview: the index and its ingestion, the budget, the log, and plots of each day.

import { make } from "../dom.ts";
import { Failure } from "./client.ts";
import { count, formatBytes, formatNumber, formatSeconds, formatShare, formatUsd } from "./format.ts";
import {
  attempts,
  button,
  confirmed,
  facts,
  foreign,
  notice,
  section,
  time,
  viewOfPeriod,
  withoutLog,
  type Route,
  type Session,
  type View,
} from "./parts.ts";
import { plot } from "./plots.ts";
import type { Activity, Budget, Day, Index, Ingestion, Log, Status } from "./types.ts";

/** Poll interval of a running ingestion, in milliseconds. */
const POLL = 1_000;
/** Before another look at a server that did not answer. */
const PAUSE = 5_000;
const LONGEST_PLOT = 90;
/** Maximum number of errors shown at first. */
const FEW = 20;

export function overview(session: Session, route: Route): View {
  const state = stateOf(session);
  const { log } = session.status;
  if (!log.enabled) {
    const activity = section("Activity", withoutLog(log).element);
    return { element: make("div", {}, activity, state.element), leave: state.stop };
  }
  const activity = viewOfPeriod<Activity>(session, route, {
    longest: LONGEST_PLOT,
    fetch: (since, signal) => session.client.get("admin/activity", { since }, signal),
    show: ({ days }) => plots(days),
  });
  return {
    element: make("div", {}, section("Activity", activity.element), state.element),
    update: activity.update,
    leave() {
      activity.leave();
      state.stop();
    },
  };
}

/** The state from /admin/status, polled while an ingestion runs. */
function stateOf(session: Session) {
  const index = make("div");
  const ingestion = make("div");
  const budget = make("section");
  const log = make("section");
  const { failed, attempt } = attempts(session);
  const elsewhere = make(
    "p",
    { class: "quiet" },
    "The content was uploaded or given on the command line. Upload it again, or repeat the command.",
  );
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  let before = session.status.ingestion;

  const again = button("Ingest again", () => start(false));
  const rebuild = button("Rebuild everything", async () => {
    const cost = "Every page is read and embedded again. With an embedding service this costs tokens.";
    if (await confirmed("Rebuild the whole index?", cost, "Rebuild")) start(true);
  });
  const cancel = button("Cancel", () =>
    act(() => session.client.delete(`ingest?task_id=${session.status.ingestion?.task_id}`)),
  );
  const refresh = async () => {
    session.status = await session.client.get<Status>("admin/status");
    if (!stopped) show();
  };
  const act = (action: () => Promise<void>) =>
    attempt(async () => {
      await action();
      await refresh();
    });
  const start = (force: boolean) =>
    act(() => session.client.post("ingest", { ...source(session.status.index), force_reindex: force }));
  const poll = async () => {
    try {
      await refresh();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      schedule(PAUSE); // the server may be restarting
    }
  };
  const schedule = (milliseconds: number) => {
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(poll, milliseconds);
  };
  const show = () => {
    const { status } = session;
    const running = isRunning(status.ingestion);
    index.replaceChildren(describeIndex(status));
    const open = [...ingestion.querySelectorAll("details[open]")].map(({ id }) => id);
    ingestion.replaceChildren(describeIngestion(status.ingestion));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    budget.replaceChildren(...describeBudget(status.budget));
    log.replaceChildren(...describeLog(status.log));
    const focused = document.activeElement;
    again.hidden = rebuild.hidden = running || !canIngest(status.index);
    cancel.hidden = !running;
    elsewhere.hidden = canIngest(status.index);
    if (focused === cancel && cancel.hidden) again.focus();
    if ((focused === again || focused === rebuild) && again.hidden) cancel.focus();
    if (isRunning(before) !== running && status.ingestion) {
      session.say(`Ingestion ${running ? "running" : status.ingestion.status}`);
    }
    before = status.ingestion;
    if (running) schedule(POLL);
  };
  show();
  poll(); // the author may have signed in long ago
  return {
    element: make(
      "div",
      { class: "columns" },
      section("Index", index),
      section(
        "Last ingestion",
        ingestion,
        make("p", { class: "actions" }, again, rebuild, cancel),
        elsewhere,
        failed,
      ),
      budget,
      log,
    ),
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

const isRunning = (task: Ingestion | null) => task?.status === "pending" || task?.status === "processing";

const isSite = (origin: string) => /^https?:/.test(origin);

/** An uploaded archive, or a folder named on the command line, would be replaced by another book. */
const canIngest = (index: Index | null) => !index?.origin || isSite(index.origin);

/** The source to ingest, so that the index keeps its book. */
function source(index: Index | null): { url?: string; content_path?: string } {
  if (!index) return {};
  if (isSite(index.origin)) return { url: index.origin };
  return index.folder === "." ? {} : { content_path: index.folder };
}

function describeIndex({ index, problem, version }: Status): HTMLElement {
  const described = make("div");
  if (problem) described.append(notice(make("p", {}, problem)));
  described.append(
    facts([
      ["Book", index && foreign(index.title || "Untitled")],
      ["Pages", index && formatNumber(index.files)],
      ["Chunks", index && formatNumber(index.chunks)],
      ["Embedding model", index && foreign(index.embedding_model)],
      ["Published", index && time(index.published_at)],
      ["Source", index && foreign(index.origin || "the content folder")],
      ["Quire", version],
    ]),
  );
  return described;
}

const ENDS: Record<string, string> = { completed: "Completed", failed: "Failed" };

function describeIngestion(task: Ingestion | null): HTMLElement {
  if (!task) return make("p", {}, "None since the server started.");
  const { progress, error } = task;
  const described = make("div");
  if (isRunning(task)) {
    const [done, what] = progress.files_processed
      ? [progress.files_processed, "Reading the pages"]
      : [progress.pages_fetched, progress.pages_fetched ? "Fetching the site" : "Starting"];
    const total = progress.total_files;
    const bar = make("progress", { max: String(total || 1), value: total ? String(done) : null });
    described.append(
      make("label", { class: "progress" }, `${what}: ${formatNumber(done)} of ${count(total, "file")}`, bar),
    );
  } else if (error) {
    described.append(notice(make("p", {}, foreign(error))));
  }
  const took = task.finished_at ? (Date.parse(task.finished_at) - Date.parse(task.started_at)) / 1000 : null;
  described.append(
    facts([
      ["Status", isRunning(task) ? "Running" : ENDS[task.status] ?? task.status],
      ["Started", time(task.started_at)],
      ["Duration", took === null ? null : formatSeconds(took)],
      [
        "Files",
        `${formatNumber(progress.total_files)} (${formatNumber(progress.files_unchanged)} unchanged, ` +
          `${formatNumber(progress.files_removed)} removed)`,
      ],
      [
        "Chunks",
        `${formatNumber(progress.chunks_created)} (${formatNumber(progress.chunks_embedded)} embedded)`,
      ],
    ]),
    lines("Errors", progress.errors.filter((each) => each !== error)),
    lines("Notes", progress.notes),
    lines("Pages left out", progress.left_out),
    lines("Links not found on the site", progress.links_unresolved),
  );
  return described;
}

function lines(title: string, all: string[]): HTMLElement | string {
  if (!all.length) return "";
  const list = make("ul");
  for (const each of all) list.append(make("li", {}, foreign(each)));
  return make("details", { id: title, open: title === "Errors" && all.length <= FEW }, make("summary", {}, `${title}: ${formatNumber(all.length)}`), list);
}

function describeBudget(budget: Budget): HTMLElement[] {
  const { tokens, tokens_limit, usd, usd_limit, refused, resets_at } = budget;
  const used = (spent: number, limit: number | null, format: (value: number) => string) =>
    limit ? `${format(spent)} of ${format(limit)} (${formatShare(spent / limit)})` : `${format(spent)}, no limit`;
  return [
    make("h2", {}, "Budget today"),
    facts([
      ["Tokens", used(tokens, tokens_limit, formatNumber)],
      ["Cost, estimated", used(usd, usd_limit, formatUsd)],
      ["Refused", refused ? count(refused, "request") : null],
      ["Resets", time(resets_at)],
    ]),
  ];
}

function describeLog(log: Log): HTMLElement[] {
  const heading = make("h2", {}, "Question log");
  if (!log.enabled) return [heading, make("p", {}, "Off. ", log.hint)];
  const described = facts([
    ["Questions", formatNumber(log.questions)],
    ["Oldest", log.oldest && time(log.oldest)],
    ["Kept for", count(log.days, "day")],
    ["Size", `${formatBytes(log.bytes)} of ${formatNumber(log.max_mb)} MB`],
    ["Lost", log.lost ? count(log.lost, "entry", "entries") : null],
  ]);
  return log.problem ? [heading, notice(make("p", {}, log.problem)), described] : [heading, described];
}

function plots(all: Day[]): (Node | string)[] {
  const total = (pick: (day: Day) => number) => all.reduce((sum, day) => sum + pick(day), 0);
  const unanswered = (day: Day) => day.refused + day.declined + day.failed;
  const questions = total((day) => day.questions);
  if (!questions) return [make("p", {}, "No question in this period.")];
  const days = all.map(({ date }) => date);
  const hasPrices = total((day) => day.cost_usd ?? 0) > 0;
  const spending = hasPrices
    ? { title: "Cost per day, estimated", format: formatUsd, pick: (day: Day) => day.cost_usd }
    : {
        title: "Tokens per day",
        format: formatNumber,
        pick: (day: Day) => day.prompt_tokens + day.completion_tokens + day.embedding_tokens,
      };
  return [
    facts([
      ["Questions", formatNumber(questions)],
      ["Unanswered", `${formatNumber(total(unanswered))} (${formatShare(total(unanswered) / questions)})`],
      ["Helpful", formatNumber(total((day) => day.up))],
      ["Not helpful", formatNumber(total((day) => day.down))],
    ], "figures"),
    make(
      "div",
      { class: "plots" },
      plot({
        title: "Questions per day",
        days,
        stacked: true,
        format: formatNumber,
        series: [
          { name: "Answered", kind: "tone-1", values: all.map((day) => day.answered) },
          { name: "Unanswered", kind: "tone-2", values: all.map(unanswered) },
          { name: "Other", kind: "tone-3", values: all.map((day) => day.left + day.small_talk) },
        ],
      }),
      plot({
        title: "Time to the first token",
        days,
        stacked: false,
        format: formatSeconds,
        series: [
          { name: "Median", kind: "tone-1", values: all.map((day) => day.first_p50) },
          { name: "95th percentile", kind: "tone-2", values: all.map((day) => day.first_p95) },
        ],
      }),
      plot({
        title: spending.title,
        days,
        stacked: true,
        format: spending.format,
        series: [{ name: hasPrices ? "Cost" : "Tokens", kind: "tone-1", values: all.map(spending.pick) }],
      }),
    ),
  ];
}
