"""Nothing unsafe reaches a reader, checked with an independent Markdown parser."""

import itertools
import re
import time
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from lib.citations import Citation, Citations, MarkerResolver
from tests.passages import numbered_passage

TEXT = "See https://ok.example/docs, or (https://ok.example/a_(b)). Mail help@ok.example now."
PASSAGES = [numbered_passage(number, text=TEXT) for number in (1, 2, 3)]
ALLOWED = {
    "https://ok.example/docs",
    "https://ok.example/a_%28b%29",
    *(f"https://b.example/p{number}{end}" for number in (1, 2, 3) for end in ("", "#h")),
}
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
UNJOINED = MarkdownIt("commonmark").enable("table")
UNJOINED.core.ruler.disable("text_join")
BARE = re.compile(
    r"(?<![a-z0-9])(?:https?|ftp)://[^\s\0]|(?:^|(?<=[\s*_~(]))www\.[a-z0-9]", re.IGNORECASE
)
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
DANGLING = re.compile(r"[\[【［]\s*\d{1,3}\s*[\]】］]")


def resolve(deltas: Sequence[str]) -> tuple[str, list[str]]:
    """Return the reader's text, and the citations with their offsets."""
    resolver = MarkerResolver(Citations(PASSAGES, text_fragments=False))
    text, cited = "", []
    for piece in [piece for d in deltas for piece in resolver.feed(d)] + resolver.finish():
        assert piece
        if isinstance(piece, Citation):
            cited.append(f"{len(text)} {piece.chunk_id}")
        else:
            text += piece
    return text, cited


def inline(parser: MarkdownIt, text: str) -> Iterator[Token]:
    for token in parser.parse(text):
        yield token
        yield from token.children or ()


def assert_safe(text: str) -> None:
    prose, in_link = "", 0
    for token in inline(PARSER, text):
        assert token.type not in ("html_block", "html_inline", "image"), token
        if token.type == "link_open":
            assert token.attrs["href"] in ALLOWED
        in_link += token.nesting if token.type.startswith("link_") else 0
        prose += token.content if token.type == "text" and not in_link else "\0"
    assert not BARE.search(prose)
    assert not DANGLING.search(prose)
    assert all("help@ok.example" in found[0] for found in EMAIL.finditer(prose))
    for token in inline(UNJOINED, text):
        if token.type == "text":
            assert not re.search(r"(?<![:\w])//\w", token.content)


# What a model writes and what the reader gets.
LINKS = {
    "a link": ("a [b](http://evil.example/c) d", "a b d"),
    "with a title": ('a [b](http://evil.example "T") d', "a b d"),
    "in angle brackets": ("a [b](<http://evil.example/c d>) e", "a b e"),
    "a path": ("a [b](../c.md#d) e", "a b e"),
    "a script": ("a [b](javascript:alert(1)) c", "a b c"),
    "data": ("a [b](data:text/html,<script>) c", "a b c"),
    "no scheme": ("a [b](//evil.example) c", "a b c"),
    "a marker inside": ("a [b [1]](http://evil.example)", "a b [1](https://b.example/p1#h)"),
    "code inside": ("[`a]b`](http://evil.example)", "`a]b`"),
    "no label": ("a [](http://evil.example).", "a."),
    "unbalanced": ("[a](http://evil.example/(b c", r"[a]\(evil\.example c"),
    "over lines": ("[a](\nhttp://evil.example)", "[a]\\(\nevil\\.example)"),
    "a known one": ("[a](https://ok.example/docs)!", "[a](https://ok.example/docs)!"),
    "a known one, parentheses": (
        "[a](https://ok.example/a_(b))",
        "[a](https://ok.example/a_%28b%29)",
    ),
    "a known page": ("[a](https://b.example/p2)", "[a](https://b.example/p2)"),
    "a definition": ("[a]: http://evil.example", r"[a]\: evil\.example"),
    "a label over lines": ("[a\nb]: http://evil.example", "\\[a\nb]: evil\\.example"),
    "autolink": ("<http://evil.example/a>", r"evil\.example"),
    "autolink, known": ("<https://ok.example/docs>", "<https://ok.example/docs>"),
    "bare": ("See http://evil.example/a?b=c.", r"See evil\.example."),
    "bare, known": ("See https://ok.example/docs.", "See <https://ok.example/docs>."),
    "bare, local": ("Open http://localhost:8000/docs now", "Open localhost:8000 now"),
    "www": ("(www.evil.example/a)", r"(evil\.example)"),
    "entities": ("http&#58;&#x2f;/evil.example", r"evil\.example"),
    "escapes": (r"http\://evil\.example", r"evil\.example"),
    "e-mail": ("joe@evil.example", "joe at evil.example"),
    "e-mail, known": ("help@ok.example", "help@ok.example"),
    "no e-mail": ("@decorator, user@host", "@decorator, user@host"),
    "an image": ("a ![b](http://evil.example/c.png) d", "a b d"),
    "a known image": ("![b](https://ok.example/docs)", "b"),
    "an image in a link": ("[![b](//c)](//d)", "b"),
    "tags": ('<a href="http://evil.example">b</a><img src=x onerror=y>.', "b ."),
    "a script's tags": ("<script>alert(1)</script>", " alert(1) "),
    "an open tag": ('<img src="http://evil.example/a', '&lt;img src="evil\\.example'),
    "a comment": ("a<!-- b -->c", "ac"),
    "no tag": ("Vec<String>, <your-key>, 1 < 2 <= 3", "Vec&lt;String>, &lt;your-key>, 1 < 2 <= 3"),
    "raised": ("10<sup>2</sup> H<sub>2</sub>O", "10² H₂O"),
    "in code": ("`http://a <b> [c](d)`", "`http://a <b> [c](d)`"),
    "in a block": ("```\n<b> [1] ![a](//b)\n```", "```\n<b> [1] ![a](//b)\n```"),
    "in a cell that looks like code": (
        "a|b\n-|-\n` http://evil.example | x `",
        "a|b\n-|-\n\\` evil\\.example | x \\`",
    ),
    "in a head that looks like code": (
        "x ` http://a | y `\n---|---\n",
        "x ` http://a | y `\n\n---|---\n",
    ),
    "CR LF": ("a\r\n[1]\rb", "a\n[1](https://b.example/p1#h)\nb"),
}


@pytest.mark.parametrize(("written", "seen"), LINKS.values(), ids=LINKS)
def test_links_images_and_tags(written: str, seen: str) -> None:
    assert resolve([written])[0] == seen
    assert_safe(seen)


ANSWER = """# Gezeiten – 水位 \U0001f30a

The tide turns [1], at [2, 3] and [1-2]; `a[1]` ``b ` [2]`` stays, 5` [3] not.
【1†x】［2］(Source 3)

1. One [guide](http://evil.example/x_(y) "T"), [docs](https://ok.example/docs) ![no](//evil.png)
   ```sh
   curl http://localhost:8000 | jq '.[1]'
   ```
2. Zwei <b>fett</b> \\[1\\] www.evil.example, joe@evil.example; https://ok.example/docs.

> ~~~
> [9] <img src=x>
> ~~~

| a | b |
|---|---|
| [9] x | `c` [^3^] |

[^1]: Tides, http://evil.example &#91;1&#93;!"""


def test_it_does_not_matter_where_an_answer_is_cut() -> None:
    whole = resolve([ANSWER])
    assert_safe(whole[0])
    assert [cited.split()[1] for cited in whole[1]] == ["chunk-1", "chunk-2", "chunk-3"]
    assert resolve(list(ANSWER)) == whole
    for at in range(len(ANSWER)):
        assert resolve([ANSWER[:at], ANSWER[at:]]) == whole


MARKUP = """
` `` ``` ~~~ [ ] ]( ) ( http://evil.com https:// //evil.com www. evil.com ![ ! <img > <b>
</b> <br> < [1] [9] \\ | |-| ---|--- - 1. 2. x &#58; &#91; & @ joe@evil.com help@ok.example
https://ok.example/docs [t](https://ok.example/docs) ]: # 【1】 【9】 : http . _ = ^ /
javascript:alert(1) <http://evil.com> (Source 1) \\[1\\] `http://evil.com`
"""
SPACES = [" ", "  ", "    ", "\n", "\n\n", "\t", "\r", "- ", "> ", "2. "]
PIECES = st.lists(st.sampled_from([*MARKUP.split(), *SPACES, "` //evil.com | x `"]), max_size=14)


@given(PIECES)
@example(["```|", "\n", "---", "\n", "http://evil.com"])
@example(["- ", "```", "\n", "http://evil.com", "\n", "```", "\n", "www.evil.com"])
@example(["[9]", "~~~", "\n", "http://evil.com", "\n", "~~~", "\n", "http://evil.com"])
@example(["\\", "【9】", "`http://evil.com`"])
@example(["http", "[9]", "://evil.com"])
@example(["[", "`", "[", "]", "]", "(", "`", "x"])
def test_nothing_gets_through(pieces: list[str]) -> None:
    text = "".join(pieces)
    whole = resolve([text])
    assert_safe(whole[0])
    assert resolve(pieces) == whole
    assert resolve(list(text)) == whole


def test_byte_borders_are_string_borders_at_most() -> None:
    """Deltas are never cut inside a character, because the stream is decoded by lines."""
    data = "水 [1] é【2】".encode()
    for at in range(len(data) + 1):
        with_cut = [data[:at].decode(errors="ignore"), ""]
        with_cut[1] = data[len(with_cut[0].encode()) :].decode()
        assert resolve(with_cut) == resolve([data.decode()])


@pytest.mark.parametrize(
    "text",
    [
        "A [" + "1, " * 2_000,
        "[" * 3_000,
        "<a " * 2_000,
        "[x](" + "(" * 3_000,
        "-" * 5_000,
        "`" * 3_000,
        "http://" + "a" * 5_000,
        "a" * 3_000 + "@" * 1_000,
        "[source " + " " * 3_000,
        " " * 5_000 + "(" * 1_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    begin = time.process_time()
    whole = resolve([text])
    assert resolve([text[at : at + 4] for at in range(0, len(text), 4)]) == whole
    assert time.process_time() - begin < 5


LENGTH = 3_000


@pytest.mark.parametrize(
    "part",
    [
        " ",
        "[",
        "a [",
        "+ ",
        ">",
        "1. ",
        "~~~ a",
        "`",
        "<a ",
        "[1]",
        "[1-3]",
        "/",
        "://",
        "@a.",
        "a)",
    ],
)
def test_one_character_at_a_time_takes_no_longer(part: str) -> None:
    """Read anew with every character, this took seconds."""
    text = f"a http://a{part * LENGTH}" if part == "a)" else f"a {part * LENGTH}"
    begin = time.process_time()
    resolver = MarkerResolver(Citations(PASSAGES))
    for char in text[:LENGTH]:
        resolver.feed(char)
        assert len(resolver._held) <= 3_000
    resolver.finish()
    assert time.process_time() - begin < 1


def test_deep_quotes_and_lists_are_text() -> None:
    assert resolve(["> " * 25 + "a"])[0] == "> " * 20 + "\\" + "> " * 5 + "a"
    assert resolve(["1. " * 21 + "a"])[0] == "1. " * 20 + "1\\. a"


@pytest.mark.parametrize("start", ["", "[", "- [", "> a"])
def test_an_endless_line_is_still_the_same_line(start: str) -> None:
    """Only the end of a line is remembered, and whether it began with more than structure."""
    some, more = (
        resolve([f"{start}{'1 x ' * times}]: http://evil.example [9] **1.** [9]: [1]"])[0][-60:]
        for times in (500, 5_000)
    )
    assert some == more


def test_plain_text_flows_at_once() -> None:
    resolver = MarkerResolver(Citations(PASSAGES))
    for delta in ("The", " tide", " turns", ", each", "\n", "with", " 1", " * 2", "\n\n", "Then"):
        assert resolver.feed(delta) == [delta]


def test_what_is_held_back_is_bounded() -> None:
    for opening in ("`", "[", "[a](", "http://", "<img ", "![", "&"):
        resolver = MarkerResolver(Citations(PASSAGES))
        shown = [piece for _ in range(1_000) for piece in resolver.feed("abc ")]
        assert shown
        resolver.feed(opening)
        assert [piece for _ in range(1_000) for piece in resolver.feed("abc ")], opening


def test_pairs_of_forms_side_by_side() -> None:
    forms = [
        "[1]",
        "[9]",
        "`a`",
        "`",
        "![b](//c)",
        "<b>",
        "www.x.y",
        "(",
        ":",
        "\\",
        "!",
        "```",
        "\n",
    ]
    for pair in itertools.product(forms, repeat=3):
        text = "".join(pair)
        whole = resolve([text])
        assert_safe(whole[0])
        assert resolve(list(text)) == whole
