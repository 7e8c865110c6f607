// Plots of figures per day. Each has its figures as a table too.

import { make } from "../dom.ts";
import { formatDay } from "./format.ts";

export interface Series {
  name: string;
  /** Class that gives the colour. */
  kind: string;
  /** One for each day; null: nothing to show. */
  values: (number | null)[];
}

export interface Plot {
  title: string;
  /** UTC dates. */
  days: string[];
  series: Series[];
  format(value: number): string;
  /** Whether the values of a day are parts of a whole. */
  stacked: boolean;
}

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 100;
const GAP = 0.15; // of a day

export function plot({ title, days, series, format, stacked }: Plot): HTMLElement {
  const sums = days.map((_, at) => {
    const values = series.map(({ values }) => values[at] ?? 0);
    return stacked ? values.reduce((all, each) => all + each, 0) : Math.max(...values);
  });
  const top = niceTop(Math.max(...sums, 0));
  const drawing = svg("svg", {
    viewBox: `0 0 ${days.length} ${HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
    "aria-label": `${title}. At most ${format(Math.max(...sums, 0))} a day.`,
  });
  const scaled = (value: number) => (top ? (value / top) * HEIGHT : 0);
  if (stacked) drawBars(drawing, days.length, series, scaled);
  else drawLines(drawing, series, scaled);
  drawTitles(drawing, days, series, format);
  return make(
    "figure",
    { class: "plot" },
    make("figcaption", {}, title),
    legend(series),
    make("p", { class: "scale", "aria-hidden": "true" }, format(top)),
    drawing as unknown as HTMLElement,
    make(
      "p",
      { class: "axis", "aria-hidden": "true" },
      make("span", {}, formatDay(days[0] ?? "")),
      make("span", {}, formatDay(days.at(-1) ?? "")),
    ),
    table(title, days, series, format),
  );
}

function drawBars(drawing: Element, days: number, series: Series[], scaled: (value: number) => number): void {
  for (let day = 0; day < days; day++) {
    let y = HEIGHT;
    for (const { kind, values } of series) {
      const height = scaled(values[day] ?? 0);
      if (!height) continue;
      y -= height;
      drawing.append(svg("rect", { class: kind, x: day + GAP / 2, y, width: 1 - GAP, height }));
    }
  }
}

/** A day without a value interrupts the line; one between two such days is a dot. */
function drawLines(drawing: Element, series: Series[], scaled: (value: number) => number): void {
  for (const { kind, values } of series) {
    const paths = { line: "", dot: "" };
    values.forEach((value, day) => {
      if (value === null) return;
      const [before, after] = [values[day - 1] ?? null, values[day + 1] ?? null];
      const point = `${day + 0.5} ${HEIGHT - scaled(value)}`;
      if (before !== null) paths.line += `L${point}`;
      else if (after !== null) paths.line += `M${point}`;
      else paths.dot += `M${point}h0`;
    });
    for (const [shape, d] of Object.entries(paths)) {
      if (d) drawing.append(svg("path", { class: `line ${shape} ${kind}`, d, "vector-effect": "non-scaling-stroke" }));
    }
  }
}

/** What a pointer over a day shows. */
function drawTitles(drawing: Element, days: string[], series: Series[], format: (value: number) => string): void {
  days.forEach((date, day) => {
    const shown = series.map(({ name, values }) => `${name}: ${cell(values[day], format)}`);
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${formatDay(date)}\n${shown.join("\n")}`;
    const column = svg("rect", { class: "column", x: day, y: 0, width: 1, height: HEIGHT });
    column.append(title);
    drawing.append(column);
  });
}

function legend(series: Series[]): HTMLElement {
  const list = make("ul", { class: "legend" });
  for (const { name, kind } of series) {
    list.append(make("li", {}, make("span", { class: `swatch ${kind}` }), name));
  }
  return list;
}

function table(title: string, days: string[], series: Series[], format: (value: number) => string): HTMLElement {
  const body = make("tbody");
  days.forEach((date, day) => {
    if (!series.some(({ values }) => values[day])) return;
    const row = make("tr", {}, make("th", { scope: "row" }, formatDay(date)));
    for (const { values } of series) row.append(make("td", {}, cell(values[day], format)));
    body.append(row);
  });
  const head = make("tr", {}, make("th", { scope: "col" }, "Day (UTC)"));
  for (const { name } of series) head.append(make("th", { scope: "col" }, name));
  return make(
    "details",
    {},
    make("summary", {}, "As a table"),
    make("table", {}, make("caption", {}, `${title}; days without questions are left out`), make("thead", {}, head), body),
  );
}

function cell(value: number | null | undefined, format: (value: number) => string): string {
  return value === null || value === undefined ? "–" : format(value);
}

/** The next of 1, 2, 5, 10, 20, ... */
function niceTop(value: number): number {
  if (value <= 0) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((each) => each * power >= value * 0.9999) ?? 10;
  return step * power;
}

function svg(name: string, attributes: Record<string, string | number>): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
