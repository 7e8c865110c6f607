import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from lib.errors import InvalidRequest, NotFound
from lib.gaps import GapFinder
from lib.question_log import FILE_NAME, LoggedQuestion, LogReader, QuestionLog, pack_vector
from lib.report import _MAX_CHARACTERS, ReportQuery, _code, _link, write_report
from lib.services import make_local_embedder
from lib.settings import MULTILINGUAL
from tests.logged import asked, passage, write_log

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TIDES = passage(heading="Tides > Ebb", url="https://book.example/guide/tides#ebb")
HOSTILE = (
    "</li><img src=x onerror=alert(1)> @maintainer fixes #1 GH-1 https://evil.example @org/team"
    " `code` ``` | a | b | \u202egnp.exe\x1b[2J\x07 [x](javascript:y) ![i](j) [^1] :tada: $x$ &lt;"
    " **b** _i_ ~~s~~ deadbeefcafe\r\n\r\n# head\n> [!NOTE]\n- [ ] t"
    "\n```\nfence\n\n    indented\n\n[x]: https://evil.example\n|--|--|\n<!-- \u2066\u2028hidden"
)
MARKS = "` `` ``` | \\ <b> &amp; [a](b) ![a](b) * _ # - 1. @x $ \u202e \x1b \0 ~~~ --- >".split(" ")
PIECES = st.text() | st.sampled_from([*MARKS, "\n", "\n\n", " ", "    ", "\t", "- ", "# "])
TEXTS = st.lists(PIECES, max_size=8).map("".join)


def inline(markdown: str) -> list[Token]:
    """The tokens of the only line of text in a rendered report."""
    found = [token for token in PARSER.parse(markdown) if token.type == "inline"]
    assert len(found) == 1, markdown
    return found[0].children or []


def visible(text: str) -> str:
    """The text in one line, without control characters and changes of direction."""
    kept = ["" if is_direction(c) else " " if unicodedata.category(c) == "Cc" else c for c in text]
    return " ".join("".join(kept).split())


def is_direction(char: str) -> bool:
    bidi = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return unicodedata.bidirectional(char) in bidi or char in "\u200e\u200f\u061c"


@given(TEXTS)
def test_a_readers_text_is_one_code_span(text: str) -> None:
    (*_, code) = inline(f"1. `x`, {_code(text, 10_000)}")
    assert code.type == "code_inline"
    assert code.content == (visible(text) or "?")


@given(TEXTS)
def test_a_title_is_the_text_of_one_link(title: str) -> None:
    tokens = inline(f"- {_link(title, 'https://book.example/a(b)?c=<d>')}")
    assert tokens[0].attrs == {"href": "https://book.example/a%28b%29?c=%3Cd%3E"}
    assert tokens[-1].type == "link_close"
    assert {token.type for token in tokens[1:-1]} <= {"text", "text_special"}
    assert "".join(token.content for token in tokens) == visible(title)[:150]


@pytest.mark.parametrize("url", [None, "", "/book/tides", "javascript:alert(1)", "data:,x"])
def test_a_page_without_an_address_is_no_link(url: str | None) -> None:
    assert _link("The [tides]", url) == "`The [tides]`"


def test_a_long_text_is_cut() -> None:
    assert _code("a" * 20, 10) == f"`{'a' * 9}…`"


async def report(folder: Path, *entries: LoggedQuestion, since: str = "7d") -> str:
    log = QuestionLog(await write_log(folder, *entries), days=3_650, max_bytes=10**9)
    embedder = make_local_embedder(MULTILINGUAL)
    try:
        return await write_report(log, GapFinder(log, embedder), ReportQuery(since=since))
    finally:
        await embedder.close()
        await log.close()


async def test_figures_of_two_periods(tmp_path: Path) -> None:
    text = await report(
        tmp_path,
        asked("When is the flood?", days_ago=20),
        *(asked("When is the flood?", first_ms=ms, cost_usd=0.25) for ms in (100, 200, 300)),
        asked("Wo liegt die Mole?", outcome="refused", language="german", first_ms=None),
        asked("And why?", outcome="failed", first_ms=None, stands_alone=False, cost_usd=None),
        asked("Hello!", outcome="small_talk", answer=None),
        asked("How deep is it?", unsupported=2, conversation="c", passages=(TIDES,)),
        asked("How wide is it?", conversation="c", passages=(TIDES,)),
        asked("Who?", days_ago=10, first_ms=1_000, cost_usd=1.0, passages=(TIDES,)),
    )
    for row in (
        "| Questions | 7 | 1 |",
        "| Conversations | 6 | 1 |",
        "| Answered | 5 (71%) | 1 (100%) |",
        "| Unanswered | 2 (29%) | 0 (0%) |",
        "| Refused, declined, failed | 1, 0, 1 | 0, 0, 0 |",
        "| With an unsupported sentence | 1 (14%) | 0 (0%) |",
        "| First token, p50 and p95 | 0.25 s, 0.30 s | 1.00 s, 1.00 s |",
        "| Cost | at least 0.75 USD | 1.00 USD |",
    ):
        assert f"\n{row}\n" in text
    assert "- [Tides](https://book.example/guide/tides): 2 citations\n" in text
    assert text.endswith("## Languages\n\nEnglish 6, German 1.\n")
    gaps = text.partition("## What to write next")[2].partition("## ")[0]
    assert set(re.findall(r"`([^`]+)`", gaps)) == {"Wo liegt die Mole?", "How deep is it?"}
    assert "The log begins" not in text


async def test_the_first_week_has_nothing_to_compare(tmp_path: Path) -> None:
    text = await report(tmp_path, asked("When is the flood?"))
    assert "|  | This period |\n" in text
    assert "No gaps in this period." in text


async def test_a_log_that_begins_in_the_period_before(tmp_path: Path) -> None:
    text = await report(tmp_path, asked("When?", days_ago=8), asked("Where?"))
    assert re.search(
        r"\nThe log begins on 20\d\d-\d\d-\d\d: the period before is incomplete\.", text
    )


@pytest.mark.parametrize("entries", [(), (asked("Hi", outcome="small_talk"),)])
async def test_without_questions_it_is_one_line(
    entries: tuple[LoggedQuestion, ...], tmp_path: Path
) -> None:
    text = await report(tmp_path, *entries)
    assert re.fullmatch(r"# Reader questions, \S+ to \S+\n\nNo questions were asked\.\n", text)


async def test_nothing_that_a_reader_wrote_is_markup(tmp_path: Path) -> None:
    answer = asked(HOSTILE, passages=(TIDES,))
    log = QuestionLog(tmp_path / FILE_NAME, days=30, max_bytes=10**9)
    log.add(answer)
    assert answer.answer is not None
    log.vote(answer.answer, "down", "wrong", HOSTILE)
    await log.close()
    text = await report(tmp_path, asked(HOSTILE, outcome="declined", passages=(TIDES,)))
    tokens = PARSER.parse(text)
    inner = [child for token in tokens for child in token.children or []]
    quoted = [child.content for child in inner if child.type == "code_inline"]
    whole = visible(HOSTILE)
    assert quoted[-1] == whole
    assert all(each == whole or each == whole[:299] + "…" for each in quoted)
    assert len(quoted) == 3
    assert {child.type for child in inner} <= {
        *("text", "text_special", "code_inline", "link_open", "link_close")
    }
    hrefs = {child.attrs["href"] for child in inner if child.type == "link_open"}
    assert {str(each).partition("#")[0] for each in hrefs} == {"https://book.example/guide/tides"}
    rest = " ".join(child.content for child in inner if child.type != "code_inline")
    for mark in ("@", "evil", "tada", "#1", "GH-1", "<", "`", "$", "deadbeef"):
        assert mark not in rest
    assert not any(
        is_direction(char) or unicodedata.category(char) == "Cc" for char in text.replace("\n", "")
    )
    headings = [tokens[n + 1].content for n, t in enumerate(tokens) if t.type == "heading_open"]
    assert headings[1:] == [
        *("What to write next", "Answers voted down", "Pages cited most", "Languages")
    ]


async def test_it_fits_into_an_issue(tmp_path: Path) -> None:
    """The longest texts, whose code spans are three times as long."""
    model = make_local_embedder(MULTILINGUAL).model_id
    log = QuestionLog(tmp_path / FILE_NAME, days=30, max_bytes=10**9)
    for number, vector in enumerate(np.eye(384, dtype=np.float32)[:40]):
        text = f"{number:02} {'`' * 997}"
        entry = asked(text, vector=pack_vector(vector), vector_model=model, passages=(TIDES,))
        log.add(entry)
        log.vote(entry.answer or 0, "down", "wrong", text)
    await log.close()
    whole = await report(tmp_path)
    assert _MAX_CHARACTERS - 3_000 < len(whole) <= _MAX_CHARACTERS + 100
    assert "\nThe first 20 of 40:\n" in whole
    assert whole.endswith("\nThe rest is omitted.\n")


async def test_without_a_log(tmp_path: Path) -> None:
    log = LogReader(tmp_path / FILE_NAME)
    with pytest.raises(NotFound):
        await write_report(log, None, ReportQuery())  # type: ignore[arg-type]


async def test_an_invalid_period(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="since"):
        await report(tmp_path, since="yesterday")
