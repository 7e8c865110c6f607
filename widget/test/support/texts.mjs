// Texts for fuzzing, and texts that cost a careless parser time, memory or its stack.

const PIECES = [
  "a", "b c", "text ", "snake_case", "d.", "é", "😀", "文字", "。", "עברית", " ", "  ", "   ", "    ", "\t", "\n", "\n", "\n\n", "\r\n",
  "*", "**", "***", "_", "__", "~~", "`", "``", "```", "```js\n", "\n```\n", "~~~", "[", "]", "(", ")", "[1]", "[2](https://a.example/b#c)",
  "[x](y)", "](z)", "![i](j)", "!", "<", ">", "<https://a.example>", "&lt;", "&", "&#65;", ";", "\\", "\\[", "\\]", "\\(", "\\)",
  "$", "$$", "$$\n", "x^2", "- ", "* ", "+ ", "1. ", "2. ", "7) ", "> ", ">", "# ", "## ", "---\n", "***\n", "===\n", "- [ ] ", "- [x] ",
  "| a | b |\n|---|:-:|\n", "| c |", "|", "\\|", "\u202e", "\u0000",
];

/** Numbers below `n`, the same in each run (xorshift). */
function generator(seed) {
  let state = seed;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

export function* randomTexts(count, seed) {
  const random = generator(seed);
  for (let i = 0; i < count; i++) {
    let text = "";
    for (let left = 2 + random(24); left; left--) text += PIECES[random(PIECES.length)];
    yield text;
  }
}

/** A text in parts of up to `longest` UTF-16 units: also between the halves of a character. */
export function splitAtRandom(text, longest, random = generator(7 + text.length)) {
  const parts = [];
  for (let at = 0; at < text.length; ) {
    const length = 1 + random(longest);
    parts.push(text.slice(at, at + length));
    at += length;
  }
  return parts;
}

/** An answer with all kinds of blocks. */
export const RICH = `The server **listens** on port \`8080\` [1](https://book.example/docs/run#ports:~:text=listens%20on). It can *also* use a socket, see [2] and [the guide](https://book.example/docs/guide). Unknown [9](https://evil.example) stays.

## Steps to *install* [1](https://book.example/docs/run#ports)

1. Install the package [2]:

   \`\`\`bash
   pip install quire   # a comment that is rather long, so that the line has to scroll to the side
   quire serve --port 8080
   \`\`\`

2. Create the file \`quire.toml\`
   - with a title
   - and **maybe** a [link](https://book.example/docs/toml)
     1. deeper
     2. still deeper
3. Run it.

\`\`\`python title="x.py"
def f(x: int) -> int:
    return x + 1
\`\`\`
4. The list goes on.

### Table

| Setting | Meaning | Default value |
|:--|:--:|--:|
| \`PORT\` | Port of the server [1] | 8080 |
| \`HOST\` | Address, *any* by default; a long cell that must wrap somewhere | 0.0.0.0 |
| \`A\\|B\` | \\*escaped\\* &lt;tag&gt; | \`x\` |

> **Note:** a quote with \`code\` and
> two lines.
>
> > nested quote

- [ ] open task
- [x] done task

Euler: $e^{i\\pi} + 1 = 0$ costs $5 and $6, \\(a^2+b^2\\), and

$$
\\int_0^1 x^2 \\, dx = \\frac{1}{3}
$$

---

هذا نص عربي مع \`code\` بداخله [2] ونهاية.

Hard break here  
second line. ![alternative text](https://evil.example/x.png) <script>alert(1)</script> ~~gone~~ a very_long_identifier_with_underscores. A [link](javascript:alert(1)).`;

const many = (piece, length = 100_000) => piece.repeat(Math.ceil(length / piece.length)).slice(0, length);

export const HOSTILE = {
  "one line": many("a"),
  "spaces": "a" + many(" ", 99_998) + "b",
  "line breaks": many("\n"),
  "backslashes": many("\\"),
  "opening emphasis": many("*a _b **c "),
  "nested emphasis": many("*a ", 50_000) + many("a* ", 50_000),
  "marks": many("*"),
  "strong words": many("**a** "),
  "backticks": many("`"),
  "pairs of backticks": many("`` a ` "),
  "runs of backticks": many("`a``b```c````d"),
  "brackets": many("["),
  "labels": many("[a"),
  "links that do not end": many("[a]("),
  "one link that does not end": "[a](" + many("b", 99_996),
  "parentheses": "[a](" + many("(", 99_996),
  "long addresses": many("[a](" + many("b", 3_990) + " "),
  "labels with code": many("[`"),
  "labels in labels": many("[a[b "),
  "a label of labels": "[" + many("[a b]", 99_999),
  "addresses in angle brackets": many("[a](<b "),
  "titles": many('[a](b "c '),
  "images": many("![a](b) "),
  "markers": many("[1]"),
  "quotes": many("> "),
  "quotes without spaces": many(">"),
  "items": many("- "),
  "numbers": many("1. "),
  "quotes and items": many("> - "),
  "lines of items": many("- a\n"),
  "items ever deeper": Array.from({ length: 440 }, (_, i) => " ".repeat(i) + "- x\n").join(""),
  "headings": many("# a\n"),
  "marks of headings": many("# "),
  "rules that are none": many("- ", 99_999) + "x",
  "rows": "|a|b|\n|-|-|\n" + many("|c|d|\n", 99_986),
  "cells": "|a|\n|-|\n" + many("|c", 99_990),
  "headers": many("|" + many("a|", 900) + "\n|" + many("-|", 900) + "x\n"),
  "a wide table with short rows": "|" + many("a|", 900) + "\n|" + many("-|", 900) + "\n" + many("|b|\n", 98_000),
  "fences": many("```\n"),
  "a fence that does not end": "```\n" + many("a\n", 99_996),
  "dollars": many("$a "),
  "double dollars": many("$$a$b"),
  "formulas": many("\\(a "),
  "a formula that does not end": "$$\n" + many("x\n", 99_996),
  "entities": many("&lt;"),
  "ampersands": many("&a"),
  "tags": many("<script>"),
  "autolinks": many("<https://a"),
  "hard breaks": many("a  \n"),
  "tabs": many("\t"),
  "direction overrides": many("\u202e"),
  "emoji": many("😀"),
  "Chinese": many("**文。**"),
};
