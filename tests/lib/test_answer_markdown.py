"""The notes below an answer."""

from typing import Any

from lib.answer_markdown import answer_notes
from lib.citations import Citation, _Source
from lib.events import Done
from lib.refusal import Suggestion

SUGGESTIONS = [Suggestion("Tides > Currents", "https://book.example/tides#currents")]


def done(**fields: Any) -> Done:
    values: dict[str, Any] = {
        "session_id": "s",
        "response_time": 0.1,
        "tokens_used": 0,
        "finish_reason": "stop",
        "mode": "generated",
    }
    return Done(**(values | fields))


def cited(marker: int, heading: str, url: str | None) -> Citation:
    return Citation(
        marker=marker,
        text="Three knots.",
        source=_Source(
            chapter="Tides", section=heading, heading=heading, file_path="tides.md", url=url
        ),
        relevance_score=0.9,
        chunk_id="1",
    )


def notes(*citations: Citation, language: str = "english", **fields: Any) -> list[str]:
    return list(answer_notes(done(**fields), citations, language))


def test_sources_are_links_numbered_like_their_markers() -> None:
    sources = (
        cited(1, "Current [a]", "https://book.example/tides#c(1)"),
        cited(2, "Tides", "/book/tides"),
    )
    assert notes(*sources) == [
        "## Sources",
        "1. [Tides > Current \\[a\\]](https://book.example/tides#c%281%29)\n"
        "2. [Tides](/book/tides)",
    ]


def test_a_source_without_an_address_has_its_file() -> None:
    assert notes(cited(1, "Currents", None))[1] == "1. Tides > Currents (`tides.md`)"


def test_only_a_model_s_refusal_needs_a_list_of_pages() -> None:
    listed = "- [Tides > Currents](https://book.example/tides#currents)"
    generated = notes(finish_reason="not_in_book", suggestions=SUGGESTIONS)
    assert generated == [f"These pages come closest:\n\n{listed}"]
    [german] = notes(finish_reason="not_in_book", suggestions=SUGGESTIONS, language="german")
    assert german.endswith(listed)
    assert german != generated[0]
    assert notes(finish_reason="not_in_book", suggestions=SUGGESTIONS, mode="none") == []


def test_an_answer_that_was_cut_says_so() -> None:
    assert notes(finish_reason="length") == ["*The answer was cut at its maximum length.*"]
    assert notes() == []
