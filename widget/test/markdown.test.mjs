// The parser without a page. Its elements are written as tags.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BlockParser } from "../src/blocks.ts";
import { HOSTILE, randomTexts, splitAtRandom } from "./support/texts.mjs";

/** The elements of a text, written in these parts. */
function read(...parts) {
  let written = "";
  let depth = 0;
  let deepest = 0;
  const names = [];
  const parser = new BlockParser({
    open(name, detail) {
      names.push(name);
      deepest = Math.max(deepest, ++depth);
      written += detail ? `<${name} ${detail}>` : `<${name}>`;
    },
    close() {
      depth--;
      written += `</${names.pop()}>`;
    },
    text: (text) => (written += text),
    marker: (number, address) => (written += `{${number}${address === null ? "" : ` ${address}`}}`),
  });
  for (const part of parts) parser.write(part);
  parser.end();
  assert.equal(depth, 0, "elements stay open");
  return { written, deepest };
}

const EXPECTED = {
  // What streaming-markdown 0.2.15 reads differently, each a reason not to use it.
  "an underscore inside a word is no emphasis": ["use snake_case_name", "<p>use snake_case_name</p>"],
  "a mark without a partner stays, and ends nothing": ["a *b c\n\nd", "<p>a *b c</p><p>d</p>"],
  "a variable of a shell does not begin a formula": [
    "The $HOME of $USER [1](https://a.example/)\n\n*b*",
    "<p>The $HOME of $USER {1 https://a.example/}</p><p><em>b</em></p>",
  ],
  "code in an item, after an empty line, stays in it": [
    "1. a\n\n   ```sh\n   b\n     c\n   ```\n\n2. d",
    "<ol><li><p>a</p><pre sh>b\n  c</pre></li><li><p>d</p></li></ol>",
  ],
  "a numbered list goes on after code": [
    "1. a\n```\nb\n```\n2. c",
    "<ol><li><p>a</p></li></ol><pre>b</pre><ol 2><li><p>c</p></li></ol>",
  ],
  "a second paragraph of an item": ["- a\n\n  b\n- c", "<ul><li><p>a</p><p>b</p></li><li><p>c</p></li></ul>"],
  "a quote in an item": ["- a\n  > b", "<ul><li><p>a</p><blockquote><p>b</p></blockquote></li></ul>"],
  "a number with a parenthesis": ["1) a\n2) b", "<ol><li><p>a</p></li><li><p>b</p></li></ol>"],
  "tildes around code": ["~~~py\na\n~~~", "<pre py>a</pre>"],
  "a bar does not make a table": ["|x| is\nmore", "<p>|x| is\nmore</p>"],
  "a formula on one line": ["$$ x^2 $$", "<p><formula display>x^2</formula></p>"],
  "an opening parenthesis with a backslash does not begin a formula": ["[a]\\(b", "<p>[a](b</p>"],
  "a capital X is a done task": ["- [X] a", "<ul><li><p><task done></task>a</p></li></ul>"],
  "a line break in a paragraph is a space": ["a\nb", "<p>a\nb</p>"],
  "marks of a heading's end": ["## a ##", "<h2>a</h2>"],
  "entities": ["a &lt;b&gt; &amp; &#65;&#x42; &nope; &#0;", "<p>a <b> & AB &nope; \ufffd</p>"],

  // What the server's sanitizer and its quotes escape.
  "escaped characters": ["\\*a\\* \\_b\\_ \\[1\\] \\`c\\` \\<d> \\# \\\\ /\\/", "<p>*a* _b_ [1] `c` <d> # \\ //</p>"],
  "an escaped label at the start of a line": ["\\[a, b\\] [1]", "<p>[a, b] {1}</p>"],
  "an escaped host": ["evil\\.example", "<p>evil.example</p>"],
  "a known address": ["<https://a.example/b>", "<p><link https://a.example/b>https://a.example/b</link></p>"],
  "an escaped bar in code of a row": [
    "| a | b |\n| --- | --- |\n| `x\\|y` | z [1] |",
    "<table><head><row><cell>a</cell><cell>b</cell></row></head><row><cell><code>x|y</code></cell><cell>z {1}</cell></row></table>",
  ],
  "a notice": ["*Quotes from the book:*\n\nx", "<p><em>Quotes from the book:</em></p><p>x</p>"],

  // Markers.
  "markers with and without an address": [
    "a [1](https://a.example/#b:~:text=c%2C%20d) b [2]. [12][3]",
    "<p>a {1 https://a.example/#b:~:text=c%2C%20d} b {2}. {12}{3}</p>",
  ],
  "markers in a heading, a list, a table, emphasis": [
    "# a [1]\n- b [2]\n\n| c [3] |\n|--|\n\n**d [4] *e [5]***",
    "<h1>a {1}</h1><ul><li><p>b {2}</p></li></ul><table><head><row><cell>c {3}</cell></row></head></table><p><strong>d {4} <em>e {5}</em></strong></p>",
  ],
  "no markers in code": ["`[1]`\n```\n[2](https://a.example)\n```", "<p><code>[1]</code></p><pre>[2](https://a.example)</pre>"],
  "no marker of four digits": ["[2024]", "<p>[2024]</p>"],
  "a marker at the start of an item is no task": ["- [1](x) a", "<ul><li><p>{1 x} a</p></li></ul>"],

  // Formulas.
  formulas: [
    "$x^2$, \\(a+b\\), $5 and $6, $n$\n\n$$\n\\frac{a}{b} &lt; 1\n$$\n\n\\[\ny\n\\]",
    "<p><formula>x^2</formula>, <formula>a+b</formula>, $5 and $6, <formula>n</formula></p><formula block>\\frac{a}{b} < 1</formula><formula block>y</formula>",
  ],
  "an open formula ends with its paragraph": ["$$\nx\n\nb [1]", "<formula block>x</formula><p>b {1}</p>"],

  // Blocks.
  "nested lists": [
    "- a\n  1. b\n     - c\n  2. d\n- e",
    "<ul><li><p>a</p><ol><li><p>b</p><ul><li><p>c</p></li></ul></li><li><p>d</p></li></ol></li><li><p>e</p></li></ul>",
  ],
  "tabs indent": ["-\ta\n\n\t- b", "<ul><li><p>a</p><ul><li><p>b</p></li></ul></li></ul>"],
  "hard breaks": ["a  \nb\\\nc", "<p>a<br></br>b<br></br>c</p>"],
  "an alignment": ["|a|b|c|\n|:-|:-:|-:|", "<table><head><row><cell>a</cell><cell center>b</cell><cell end>c</cell></row></head></table>"],
  "a table after a line of text": ["a:\n|b|\n|-|\n|c|\nd", "<p>a:</p><table><head><row><cell>b</cell></row></head><row><cell>c</cell></row></table><p>d</p>"],
  "a fence in a fence": ["````md\n```\na\n```\n````", "<pre md>```\na\n```</pre>"],
  "code that is not closed": ["```js\na\n\nb\n\n", "<pre js>a\n\nb</pre>"],
  "emphasis beside Chinese punctuation": ["**重要。**文字", "<p><strong>重要。</strong>文字</p>"],
  "a list in a quote": ["> - a\n> - b\n\nc", "<blockquote><ul><li><p>a</p></li><li><p>b</p></li></ul></blockquote><p>c</p>"],
  "line breaks of other systems": ["a\r\n\r\nb\rc", "<p>a</p><p>b\nc</p>"],

  // Nothing but text.
  "an image is its alternative text": ["![a *b*](https://evil.example/x.png)", "<p>a <em>b</em></p>"],
  "HTML is text": ["<script>a</script><br>", "<p><script>a</script><br></p>"],
  "a link in a link": ["[a [b](c) d](e)", "<p><link e>a [b](c) d</link></p>"],
  "a label without an address": ["[a][b] [c]", "<p>[a][b] [c]</p>"],
};

for (const [name, [text, expected]] of Object.entries(EXPECTED)) {
  test(`${name}, in one piece and by characters`, () => {
    assert.equal(read(text).written, expected);
    assert.equal(read(...text).written, expected);
  });
}

test("a text reads the same however it is split", () => {
  for (const text of randomTexts(3_000, 19)) {
    const { written } = read(text);
    assert.equal(read(...text.split("")).written, written, JSON.stringify(text));
    assert.equal(read(...splitAtRandom(text, 5)).written, written, JSON.stringify(text));
  }
});

for (const [name, text] of Object.entries(HOSTILE)) {
  test(`100,000 characters in linear time: ${name}`, () => {
    const time = (length) => {
      const parts = text.slice(0, length).match(/[^]{1,7}/g);
      const start = performance.now();
      const { deepest, written } = read(...parts);
      assert.ok(deepest <= 50, `${deepest} elements deep`);
      assert.ok(!/\[object|undefined/.test(written));
      return performance.now() - start;
    };
    time(10_000);
    // Quadratic time would be a hundredfold, and several seconds.
    const small = time(10_000);
    const large = time(100_000);
    assert.ok(large < 1_500 || large < 40 * small, `${small} ms, then ${large} ms`);
  });

  test(`the same however it is split: ${name}`, () => {
    const part = text.slice(0, 3_000);
    const { written } = read(part);
    assert.equal(read(...part.split("")).written, written);
    assert.equal(read(...splitAtRandom(part, 40)).written, written);
  });
}
