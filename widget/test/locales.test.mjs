import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import english from "../src/locales/en.ts";

const names = await readdir(new URL("../src/locales/", import.meta.url));
const PLACEHOLDERS = /\{\w+\}/g;

for (const name of names) {
  test(`${name} says all that en.ts says`, async () => {
    const { default: strings } = await import(`../src/locales/${name}`);
    assert.deepEqual(Object.keys(strings), Object.keys(english));
    for (const [key, text] of Object.entries(english)) {
      assert.deepEqual(strings[key].match(PLACEHOLDERS)?.sort(), text.match(PLACEHOLDERS)?.sort(), key);
    }
  });
}
