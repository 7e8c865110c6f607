import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.query import even, parse_query
from lib.store import FILTERS


@pytest.mark.parametrize(
    ("text", "rest", "only"),
    [
        ("tide", "tide", {}),
        ("  spring   tide ", "  spring   tide ", {}),
        ("tide file:guide/tides.md", "tide", {"paths": "guide/tides.md"}),
        ("path:Guide/ tide", "tide", {"paths": "guide"}),
        ("FILE:/guide/ tide  times", "tide times", {"paths": "guide"}),
        ('chapter:"The Harbour" tide', "tide", {"chapter": "The Harbour"}),
        ("kind:code radio", "radio", {"kind": "code"}),
        ("version:2.0 locale:de tide", "tide", {"version": "2.0", "locale": "de"}),
        ("lang:pt-BR tide", "tide", {"locale": "pt-BR"}),
        ("file:a file:b tide", "tide", {"paths": "b"}),
        ("how does version: work", "how does version: work", {}),
        ("profile:a tide", "profile:a tide", {}),
        ("see file:a:b tide", "see file:a:b tide", {}),
        ("file:a, tide", "tide", {"paths": "a,"}),
        ("xfile:a tide", "xfile:a tide", {}),
    ],
)
def test_restrictions(text: str, rest: str, only: dict[str, str]) -> None:
    query = parse_query(text)
    assert (query.text, query.only) == (rest, only)
    assert {*query.only} <= {*FILTERS}


@pytest.mark.parametrize("text", ["file:guide", "kind:code version:2", "lang:de ?!", 'file:"a b"'])
def test_a_question_that_is_only_a_restriction_is_words(text: str) -> None:
    query = parse_query(text)
    assert query.text == text
    assert query.only == {}


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ('"spring tide"', ("spring tide",)),
        ('when is "Spring\n  TIDE" and “neap tide”?', ("spring tide", "neap tide")),
        ("«marée basse»", ("marée basse",)),
        ('file:a "spring tide"', ("spring tide",)),
        ('chapter:"The Harbour" tide', ()),
        ('""', ()),
        ('"  "', ()),
        ('"unclosed phrase', ()),
        ('an "x" in it', ()),
        ("don't and can't", ()),
    ],
)
def test_phrases(text: str, phrases: tuple[str, ...]) -> None:
    assert parse_query(text).phrases == phrases


@given(st.text(max_size=200) | st.from_regex(r"( |file:|\"|kind:|a|«|»|/){1,30}", fullmatch=True))
def test_whatever_is_typed(text: str) -> None:
    query = parse_query(text)
    assert query.text == text or query.only
    assert all(query.only.values()) or "paths" in query.only
    assert all(phrase and phrase == even(phrase) for phrase in query.phrases)
    assert {*query.only} <= {*FILTERS}


def test_what_reads_the_same_is_equal() -> None:
    assert even(" Straße\n\tNR. 5 ") == even("STRASSE nr. 5") == "strasse nr. 5"
