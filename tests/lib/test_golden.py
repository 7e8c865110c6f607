import json
from pathlib import Path
from typing import Any

import pytest

from lib.golden import (
    BadQuestions,
    GoldPlace,
    Question,
    _find_quotes,
    _find_sections,
    _parse_question,
    find_ranks,
    read_questions,
    recall,
)
from lib.ranking import Passage
from tests.passages import passage_at

TIDES = "The tide turns every six hours.\nIt rises four metres. It falls again."
PAGE = """---
title: All about tides
---

# Tides

It rises.

## The *current*  {#c}

It is strong.

### At night

It is weak.

## Harbours

It rises here too.
"""


def text_of(file: str) -> str:
    texts = {"tides.md": TIDES, "page.md": PAGE}
    if file not in texts:
        raise BadQuestions(f"{file}: there is no such file")
    return texts[file]


def parsed(**fields: Any) -> Question:
    return _parse_question(json.dumps({"question": " When? "} | fields), text_of)


def test_the_short_form() -> None:
    assert parsed(file="tides.md", text="every six hours. It rises") == Question(
        "When?", ((GoldPlace("tides.md", 15, 40),),)
    )
    assert parsed(answerable=False) == Question("When?")


def test_the_rich_form() -> None:
    spans = [
        {"file": "tides.md", "start": 4, "end": 8, "text": "tide", "alts": [[32, 34]]},
        {"file": "tides.md", "text": "rises", "also": [{"file": "tides.md", "text": "falls"}]},
    ]
    assert parsed(spans=spans, category="howto", id="x-1", level="span", lang="en") == Question(
        "When?",
        (
            (GoldPlace("tides.md", 4, 8), GoldPlace("tides.md", 32, 34)),
            (GoldPlace("tides.md", 35, 40), GoldPlace("tides.md", 57, 62)),
        ),
        "howto",
        "x-1",
    )


def test_beside_spans_the_heading_is_a_description() -> None:
    asked = parsed(file="x.md", heading="Nowhere", spans=[{"file": "tides.md", "text": "rises"}])
    assert asked.answer == ((GoldPlace("tides.md", 35, 40),),)


@pytest.mark.parametrize("fields", [{}, {"level": "file", "text": "tide"}])
def test_any_passage_of_a_file_will_do(fields: dict[str, str]) -> None:
    whole = GoldPlace("tides.md", 0, len(TIDES), whole=True)
    assert parsed(file="tides.md", **fields).answer == ((whole,),)


def test_what_was_asked_before() -> None:
    asked = parsed(file="tides.md", history=["How deep is it? ", "Why?"])
    assert asked.history == ("How deep is it?", "Why?")


def section(heading: str) -> list[str]:
    return [PAGE[start:end] for start, end in _find_sections(heading, PAGE)]


def test_a_section_ends_where_the_next_of_its_level_begins() -> None:
    (current,) = section("The current")
    assert current.startswith("## The *current*")
    assert current.endswith("It is weak.\n\n")
    (night,) = section("at  NIGHT")
    assert night == "### At night\n\nIt is weak.\n\n"
    assert section("Tides") == [PAGE[PAGE.index("# Tides") :]]
    assert section("All about tides") == [PAGE]
    assert section("Nothing") == []
    assert _find_sections("Same", "# Same\na\n# Same\nb") == [(0, 9), (9, 17)]


def test_a_quote_below_a_heading() -> None:
    both = parsed(file="page.md", text="It rises").answer[0]
    one = parsed(file="page.md", text="It rises", heading="Harbours").answer[0]
    assert len(both) == 2
    assert one == both[1:]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "not a question: "),
        ('["When?"]', "not a question: "),
        ('{"file": "tides.md", "text": "tide"}', "missing required field `question`"),
        ('{"question": " "}', "1 to 1000 characters"),
        ('{"question": "When?", "answerable": "no"}', "Expected `bool`"),
        ('{"question": "When?", "answerable": false, "history": [" "]}', "1 to 1000 characters"),
        ('{"question": "When?"}', "it needs a `file`, or `spans`, or `answerable` false"),
        ('{"question": "When?", "text": "tide"}', "it needs a `file`"),
        ('{"question": "When?", "file": "tides.md", "text": " "}', "the `text` of an answer is "),
        ('{"question": "When?", "file": "no.md", "text": "x"}', "no.md: there is no such file"),
        (
            '{"question": "When?", "file": "tides.md", "text": "seven"}',
            "tides.md does not have the quote 'seven'",
        ),
        (
            '{"question": "When?", "file": "page.md", "text": "strong", "heading": "Harbours"}',
            "page.md does not have the quote 'strong' below the heading 'Harbours'",
        ),
        (
            '{"question": "When?", "file": "page.md", "heading": "Storms"}',
            "page.md does not have the heading 'Storms'",
        ),
        (
            '{"question": "When?", "spans": [{"file": "tides.md", "start": 9, "end": 99}]}',
            "tides.md has no characters 9 to 99",
        ),
        (
            '{"question": "?", "spans": [{"file": "tides.md", "text": "x", "start": 4, "end": 8}]}',
            "tides.md has another text at 4 to 8: 'tide'",
        ),
    ],
)
def test_what_is_wrong_with_a_line(line: str, expected: str) -> None:
    with pytest.raises(BadQuestions) as caught:
        _parse_question(line, text_of)
    assert expected in str(caught.value)


def test_a_quote_is_found_wherever_it_stands() -> None:
    assert _find_quotes(" It\n rises ", TIDES + " It rises") == [(32, 40), (70, 78)]
    assert _find_quotes("(a|b)*", "all of (a|b)* and ab") == [(7, 13)]


def test_every_bad_line_is_named(book: Path, tmp_path: Path) -> None:
    good = '{"question": "Deep?", "answerable": false}\n'
    bad = tmp_path / "bad.jsonl"
    bad.write_text(f"\ufeff{good}\n{{}}\n" + '{"question": "?", "file": "../x.md", "text": "x"}')
    with pytest.raises(BadQuestions) as caught:
        read_questions([bad, tmp_path / "none.jsonl"], book)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{bad}, line 3: not a question")
    assert lines[1] == f"{bad}, line 4: ../x.md: the path is outside the content folder"
    assert lines[2:] == [f"{tmp_path / 'none.jsonl'} cannot be read: No such file or directory"]


def test_a_file_without_questions(book: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(BadQuestions, match="there are no questions"):
        read_questions([empty], book)


@pytest.mark.parametrize(
    ("place", "found", "hit"),
    [
        (GoldPlace("a.md", 10, 30), passage_at("a.md", 20, 90), True),  # half of the place
        (GoldPlace("a.md", 10, 30), passage_at("a.md", 21, 90), False),
        (GoldPlace("a.md", 10, 30), passage_at("b.md", 10, 30), False),
        (GoldPlace("a.md", 0, 900), passage_at("a.md", 800, 1500), True),  # a hundred characters
        (GoldPlace("a.md", 0, 900), passage_at("a.md", 801, 1500), False),
        (GoldPlace("a.md", 0, 900, whole=True), passage_at("a.md", 899, 950), True),
    ],
)
def test_what_hits(place: GoldPlace, found: Passage, hit: bool) -> None:
    assert place.hit_by(found) is hit


def test_each_part_of_an_answer_has_a_rank() -> None:
    parts = ((GoldPlace("a.md", 0, 10),), (GoldPlace("b.md", 0, 10), GoldPlace("c.md", 50, 60)))
    found = find_ranks(parts, [passage_at("x.md", 0, 10), passage_at("c.md", 40, 60)])
    assert found == (None, 2)
    assert [recall(found, k) for k in (1, 2)] == [0, 0.5]
