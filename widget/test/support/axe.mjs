// axe-core, run in the page.

import { readFile } from "node:fs/promises";

const source = await readFile(new URL("../../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

/** Violations as lines: rule, element, what to do. */
export async function violations(page) {
  await page.evaluate(source);
  const { violations: found } = await page.evaluate(() => axe.run());
  return found.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.flat().join(" ")}: ${failureSummary}`),
  );
}
