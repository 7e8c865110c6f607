import itertools
import re
from collections.abc import Sequence
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from lib.citations import (
    _EXCERPT_CHARACTERS,
    Citation,
    Citations,
    MarkerResolver,
    _excerpt,
    _last_sentence,
    _text_directive,
    _with_directive,
)
from lib.ranking import Passage
from lib.sanitizer_syntax import link_target
from lib.sentences import Sentence
from tests.passages import numbered_passage, passage_of_sections

PASSAGES = [numbered_passage(number, url=None) for number in range(1, 6)]
LINKED = [numbered_passage(number) for number in range(1, 6)]


def resolve(
    deltas: Sequence[str], passages: Sequence[Passage] = PASSAGES
) -> tuple[str, list[Citation]]:
    """Return the reader's text and citations, checking each piece."""
    resolver = MarkerResolver(Citations(passages))
    pieces = [piece for delta in deltas for piece in resolver.feed(delta)] + resolver.finish()
    assert all(pieces), "an empty piece"
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    return text, [piece for piece in pieces if isinstance(piece, Citation)]


# What the model writes, what the reader sees, which passages are cited.
FORMS = {
    "one": ("A [1].", "A [1].", [1]),
    "numbered by appearance": ("A [3]. B [1]. C [3].", "A [1]. B [2]. C [1].", [3, 1]),
    "side by side": ("A [1][2].", "A [1][2].", [1, 2]),
    "a list": ("A [1, 3].", "A [1][2].", [1, 3]),
    "without a space": ("A [1,3].", "A [1][2].", [1, 3]),
    "semicolons": ("A [1; 3].", "A [1][2].", [1, 3]),
    "and": ("A [1 and 3].", "A [1][2].", [1, 3]),
    "a range": ("A [2-4].", "A [1][2][3].", [2, 3, 4]),
    "a range with a dash": ("A [2–4].", "A [1][2][3].", [2, 3, 4]),
    "a footnote": ("A [^2].", "A [1].", [2]),
    "a hash": ("A [#2].", "A [1].", [2]),
    "source": ("A [Source 2].", "A [1].", [2]),
    "sources": ("A [sources 1, 2].", "A [1][2].", [1, 2]),
    "passage": ("A [passage 2].", "A [1].", [2]),
    "passage with a hash": ("A [Passage #2].", "A [1].", [2]),
    "ref": ("A [ref 2].", "A [1].", [2]),
    "thick brackets": ("A 【2】.", "A [1].", [2]),
    "thick brackets with a dagger": ("A 【2†guide.md】.", "A [1].", [2]),
    "spaces inside": ("A [ 2 ].", "A [1].", [2]),
    "a target of its own": ("A [2](https://evil.example/x).", "A [1].", [2]),
    "a reference of its own": ("A [2](#passage-2) b.", "A [1] b.", [2]),
    "twice in one": ("A [2, 2].", "A [1].", [2]),
    "at the start": ("[1] A.", "[1] A.", [1]),
    "at the end": ("A [1]", "A [1]", [1]),
    "at the end of a line": ("A [1]\nB [2]\n", "A [1]\nB [2]\n", [1, 2]),
    "unknown": ("A [9].", "A.", []),
    "zero": ("A [0].", "A.", []),
    "a known and an unknown one": ("A [1, 9].", "A [1].", [1]),
    "an unknown range": ("A [7-9] b.", "A b.", []),
    "unknown in thick brackets": ("A 【12†x】b.", "A b.", []),
    "no number": ("A [x] and [] and [ ].", "A [x] and [] and [ ].", []),
    "a link of its own": ("A [text](https://b.example).", "A text.", []),
    "double brackets": ("A [[2]].", "A [1].", [2]),
    "a caret on both sides": ("A [^2^].", "A [1].", [2]),
    "full width": ("A ［２］。", "A [1]。", [2]),
    "escaped": (r"A \[2\], \[3].", "A [1], [2].", [2, 3]),
    "source with a colon": ("A [source: 2].", "A [1].", [2]),
    "sources, each named": ("A [passage 2, passage 3].", "A [1][2].", [2, 3]),
    "other languages": ("A [Quelle 2], B [来源：3].", "A [1], B [2].", [2, 3]),
    "a dagger": ("A [2†source].", "A [1].", [2]),
    "in parentheses": ("A (Source 2), B (see passages 1 and 3).", "A [1], B [2][3].", [2, 1, 3]),
    "parentheses of another kind": ("A (chapter 2) (2).", "A (chapter 2) (2).", []),
    "a footnote's text": ("A [^2].\n\n[^2]: Tides, p. 4\nB", "A [1].\n\n\nB", [2]),
    "a list of sources": (
        "A [2].\n\nSources:\n- [2] Tides",
        "A [1].\n\nSources:\n- [1] Tides",
        [2],
    ),
    "behind an exclamation": ("Look![2]", "Look! [1]", [2]),
    "a target with parentheses": ("A [2](https://evil.example/x_(y)).", "A [1].", [2]),
    "raised": ("A<sup>[2]</sup>", "A[1]", [2]),
    "a number in a text": ("A [1 of 3].", "A [1 of 3].", []),
    "a year": ("A [2024].", "A [2024].", []),
    "never closed": ("A [1", "A", []),
    "never closed, with a word": ("A [Source", "A", []),
    "never closed, of two": ("A 【1, ", "A", []),
    "just begun": ("A [", "A", []),
    "never closed, long": ("A [" + "1, " * 40, "A [" + "1, " * 40, []),
    "a task list": ("- [ ] a\n- [x] b [1]\n", "- [ ] a\n- [x] b [1]\n", [1]),
    "in a span of code": ("A `a[1]` b [2].", "A `a[1]` b [1].", [2]),
    "in a span of two": ("A ``a`[1]`` b [2].", "A ``a`[1]`` b [1].", [2]),
    "in a block": ("```py\na[1]\n```\nb [2]", "```py\na[1]\n```\nb [1]", [2]),
    "in a block of tildes": ("~~~\na[1]\n```\n~~~\nb [2]", "~~~\na[1]\n```\n~~~\nb [1]", [2]),
    "in a block of four": ("````\n```\na[1]\n````\n[2]", "````\n```\na[1]\n````\n[1]", [2]),
    "in a block never closed": ("```\na[1]", "```\na[1]", []),
    "in an indented block": (
        "- x\n  ```\n  a[1]\n  ```\n  [2]",
        "- x\n  ```\n  a[1]\n  ```\n  [1]",
        [2],
    ),
    "after a lone backtick": ("5` [1]\n\nB` [2].", "5\\` [1]\n\nB\\` [2].", [1, 2]),
    "after a lone backtick, far": (
        "` " + "x " * 300 + "[1] `",
        "\\` " + "x " * 300 + "[1] \\`",
        [1],
    ),
    "after backticks of two kinds": ("a `` b ` [1]", "a \\`\\` b \\` [1]", [1]),
    "a span over two lines": ("a `b\nc[1]` [2]", "a `b c[1]` [1]", [2]),
    "a span that another block ends": ("a `b\n- c[1]`", "a \\`b\n- c[1]\\`", [1]),
    "a fence that its item ends": ("- ```\n  a[1]\nb[2]", "- ```\n  a[1]\nb[1]", [2]),
    "strikethrough is no code": ("~~a [1]~~", "~~a [1]~~", [1]),
}


@pytest.mark.parametrize(("written", "seen", "cited"), FORMS.values(), ids=FORMS)
def test_every_form(written: str, seen: str, cited: list[int]) -> None:
    text, citations = resolve([written])
    assert text == seen
    assert [citation.chunk_id for citation in citations] == [f"chunk-{each}" for each in cited]
    assert [citation.marker for citation in citations] == list(range(1, len(citations) + 1))


@pytest.mark.parametrize(("written", "seen", "cited"), FORMS.values(), ids=FORMS)
def test_it_does_not_matter_where_the_deltas_were_cut(
    written: str, seen: str, cited: list[int]
) -> None:
    whole = resolve([written], LINKED)
    assert resolve(list(written), LINKED) == whole
    for at in range(len(written)):
        assert resolve([written[:at], written[at:]], LINKED) == whole


ANYTHING = st.text(alphabet="ab 12,9-–[](【】†`~\n^#x.", max_size=60)


@given(ANYTHING, st.lists(st.integers(0, 60), max_size=8))
@example("[1](a", [4])
@example("``` [1]", [1, 2])
@example("  [9]  `", [1, 3, 6])
def test_cuts_never_matter(written: str, cuts: list[int]) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut <= len(written)), len(written)]
    deltas = [written[a:b] for a, b in itertools.pairwise(bounds)]
    assert resolve(deltas, LINKED) == resolve([written], LINKED)


@given(ANYTHING)
def test_outside_of_code_no_unknown_number_in_brackets_reaches_the_reader(written: str) -> None:
    prose = re.sub("[`~]", "", written)
    text, citations = resolve([prose])
    for shown in re.findall(r"\[(\d{1,3})\]", text):
        assert 1 <= int(shown) <= len(citations)


@given(st.text(alphabet="ab. \n", max_size=40))
def test_text_without_brackets_passes_as_it_is(written: str) -> None:
    assert resolve(list(written)) == (written, [])


def test_a_link_marks_the_sentence_that_says_the_same() -> None:
    text = "# Tides\n\nThe moon pulls. The tide turns every six hours and a *quarter*, always."
    moon = numbered_passage(1, text=text)
    said = "The moon pulls at the water. The tide turns every six hours "
    marker, cited = Citations([moon]).cite(1, said)
    assert marker == "[1](https://b.example/p1#h)"
    assert cited is not None
    assert cited.source.url == "https://b.example/p1#h"
    plain = numbered_passage(1, text=text.replace("*", ""))
    marker, cited = Citations([plain]).cite(1, said)
    assert marker == (
        "[1](https://b.example/p1#h:~:text=The%20tide%20turns%20every%20six%20hours"
        "%20and%20a%20quarter%2C%20always)"
    )
    assert cited is not None
    assert cited.source.url == "https://b.example/p1#h"
    assert (
        Citations([plain], text_fragments=False).cite(1, said)[0] == "[1](https://b.example/p1#h)"
    )


def test_text_is_not_held_back_without_need() -> None:
    resolver = MarkerResolver(Citations(PASSAGES))
    assert resolver.feed("The tide turns") == ["The tide turns"]
    assert resolver.feed(" every six hours ") == [" every six hours"]
    assert resolver.feed("[") == []
    assert resolver.feed("x]") == []  # a link target may follow
    assert resolver.feed(",") == [" [x],"]
    assert resolver.feed("and [see the long explanation that is no marker at all") != []


def test_a_citation_comes_right_behind_its_marker() -> None:
    resolver = MarkerResolver(Citations(LINKED))
    pieces = resolver.feed("A [2] b [2] c")
    assert [type(piece) for piece in pieces] == [str, Citation, str]
    assert pieces[0] == "A [1](https://b.example/p2#h)"
    assert pieces[2] == " b [1](https://b.example/p2#h) c"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://b.example/a#b", "[1](https://b.example/a#b)"),
        ("http://b.example/a", "[1](http://b.example/a)"),
        (None, "[1]"),
        ("/docs/a#b", "[1]"),
        ("javascript:alert(1)", "[1]"),
        ("https://b.example/a_(b)#c)", "[1](https://b.example/a_%28b%29#c%29)"),
        ("https://b.example/a b", "[1](https://b.example/a%20b)"),
        ("https://b.example/<x>", "[1](https://b.example/%3Cx%3E)"),
    ],
)
def test_where_a_marker_leads(url: str | None, shown: str) -> None:
    marker, citation = Citations([numbered_passage(1, url=url)]).cite(1)
    assert marker == shown
    assert citation is not None
    assert citation.source.url == url


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_no_address_ends_its_link_early(path: str) -> None:
    target = link_target(f"https://b.example/{path}")
    assert not set(target) & set('() \n<>\\"')


def test_a_citation_says_where_it_comes_from() -> None:
    _, citation = Citations([numbered_passage(1, text="Some\n\ntext.")]).cite(1)
    assert citation is not None
    assert citation.text == "Some text."
    assert citation.chunk_id == "chunk-1"
    assert citation.relevance_score == 0.5
    assert citation.source.heading == "Heading"
    assert citation.source.file_path == "1.md"


@pytest.mark.parametrize("number", [-1, 0, 2, 10**9])
def test_a_number_without_a_passage_has_no_marker(number: int) -> None:
    assert Citations([numbered_passage(1)]).cite(number) == ("", None)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("## Port\n\nSet the **port** in [`.env`](x.md).\n", "Set the port in .env."),
        ("## Port\n\nSet it:\n\n```sh\nexport PORT=8000\n```\n", "Set it:\nexport PORT=8000"),
        ("## Port\n\n```sh\nexport PORT=8000\n```\n", "export PORT=8000"),
        ("## Port\n\n- The port\n- Its name\n", "The port Its name"),
        ("## Port\n", "Port"),
        ("## Port\n\n`PORT_NR`\n: Its *number*.\n", "PORT_NR: Its number."),
        ('## Port\n\n```sh title="a.sh"\nexport PORT=1\n```\n', "export PORT=1"),
        ("## Port\n\n$$\nx^2\n$$\n", "x^2"),
    ],
)
def test_an_excerpt_is_plain_text_without_the_heading(source: str, shown: str) -> None:
    _, citation = Citations([passage_of_sections(source)]).cite(1)
    assert citation is not None
    assert citation.text == shown


@given(st.text())
def test_an_excerpt_is_short(text: str) -> None:
    shown = _excerpt([Sentence(text)], "")
    assert len(shown) <= _EXCERPT_CHARACTERS + 2
    if len(text.strip()) <= _EXCERPT_CHARACTERS:
        assert shown == text.strip()


def test_an_excerpt_is_cut_between_words() -> None:
    assert _excerpt([Sentence("word, " * 100)], "").endswith("word …")


JOINED = passage_of_sections("""## Debian

Run `sudo apt install teapot`, which takes a minute.

## Fedora

```sh
sudo dnf install teapot
```

## Options

- `--lid` closes the pot.

## Terms

Spout
: Where the tea leaves the pot.

## Codes

| Code | Meaning |
|---|---|
| 3 | The kettle is empty |
""")


@pytest.mark.parametrize(
    ("said", "heading", "text"),
    [
        ("On Debian, `apt install` takes a minute", "Debian", "Run sudo apt install teapot, which"),
        ("Use `sudo dnf install teapot`", "Fedora", "sudo dnf install teapot"),
        ("On Fedora it is in the repositories", "Fedora", "sudo dnf install teapot"),
        ("- Close the pot with `--lid`", "Options", "--lid closes the pot."),
        ("The spout is where the tea leaves", "Terms", "Spout: Where the tea leaves the pot."),
        ("Code 3 tells that the kettle is empty", "Codes", "Code: 3; Meaning: The kettle is empty"),
        ("Nothing like it", "Terms", "Spout: Where the tea leaves the pot."),
        ("", "Terms", "Spout: Where the tea leaves the pot."),
    ],
)
def test_a_claim_is_cited_under_the_heading_of_its_words(
    said: str, heading: str, text: str
) -> None:
    about_terms = replace(JOINED, heading="Terms", url="https://b.example/p#terms")
    marker, citation = Citations([about_terms]).cite(1, said)
    assert citation is not None
    assert (citation.source.heading, citation.source.section) == (heading, "Guide")
    assert citation.source.url == f"https://b.example/p#{heading.lower()}"
    assert marker.startswith(f"[1]({citation.source.url}")
    assert citation.text.startswith(text)


def test_of_equal_sentences_the_one_in_the_section_that_matches_the_question_is_cited() -> None:
    page = passage_of_sections("## Stop\n\nReturns nothing.\n\n## Run\n\nReturns nothing.\n")
    for heading in ("Stop", "Run"):
        asked = replace(page, heading=heading, url=f"https://b.example/p#{heading.lower()}")
        _, citation = Citations([asked]).cite(1, "It returns nothing")
        assert citation is not None
        assert citation.source.heading == heading


def test_a_heading_without_text_stands_for_the_section_below_it() -> None:
    page = passage_of_sections("## Stop\n\nReturns nothing.\n\n## Run\n\nReturns nothing.\n")
    stop, run = page.sections
    jobs = replace(run, heading="Jobs", url="https://b.example/p#jobs")
    asked = replace(
        page, sections=(stop, replace(run, above=(jobs,))), heading="Jobs", url=jobs.url
    )
    _, citation = Citations([asked]).cite(1)
    assert citation is not None
    assert citation.source.heading == "Run"


def test_two_headings_of_a_passage_are_two_citations() -> None:
    text, citations = resolve(
        ["Debian has apt [1]. `sudo dnf install teapot` is for Fedora [1]. Debian has apt [1]."],
        [JOINED],
    )
    assert re.findall(r"\[(\d)\]", text) == ["1", "2", "1"]
    assert [each.source.heading for each in citations] == ["Debian", "Fedora"]
    assert len({each.chunk_id for each in citations}) == 1


TIDES = """## Tides

The tide turns every six hours and a quarter at the old stone quay. Spring tides are higher. It
depends on the moon-phase, too.

| Port | Height |
|---|---|
| Hull | six metres |
"""


def directive_for(text: str, said: str) -> str:
    marker, _ = Citations([numbered_passage(1, text=text)]).cite(1, said)
    return marker.partition(":~:")[2].removesuffix(")")


@pytest.mark.parametrize(
    ("said", "directive"),
    [
        (
            "At the quay the tide turns every six hours and a quarter",
            "text=The%20tide%20turns%20every,the%20old%20stone%20quay",
        ),
        ("Yes. Spring tides are higher than others ", "text=Spring%20tides%20are%20higher"),
        (
            "It depends on the phase of the moon.",
            "text=It%20depends%20on%20the%20moon%2Dphase%2C%20too",
        ),
        ("Boats need fenders.", ""),
        ("", ""),
        ("[1](https://b.example/a)", ""),
    ],
)
def test_the_sentence_that_says_the_same_is_marked(said: str, directive: str) -> None:
    assert directive_for(TIDES, said) == directive


def test_nothing_is_marked_where_two_sentences_say_it() -> None:
    text = "Spring tides are higher in summer. Spring tides are higher in winter."
    assert directive_for(text, "Spring tides are higher") == ""


def test_nothing_is_marked_that_the_passage_says_twice() -> None:
    text = "## One\n\nIt returns a number.\n\n## Two\n\nIt returns a number.\n"
    assert directive_for(text, "Two: it returns a number") == ""


@pytest.mark.parametrize(
    "sentence", ["The `tide` turns early.", "It's the tide.", "So -- the tide.", "Tide turns"]
)
def test_a_sentence_that_a_page_may_show_otherwise_is_not_named(sentence: str) -> None:
    assert _text_directive(sentence.replace("`", ""), sentence) == ""


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_directive_is_one_piece_of_an_address(text: str) -> None:
    directive = _text_directive(text, " ".join(text.split()))
    if directive:
        named = directive.removeprefix("text=").split(",")
        assert all(unquote(each) in " ".join(text.split()) for each in named)
        assert not set(directive.removeprefix("text=")) & set(" ()<>&-#\"'")


@pytest.mark.parametrize(
    ("url", "marked"),
    [
        ("https://b.example/a#h", "https://b.example/a#h:~:text=x"),
        ("https://b.example/a", "https://b.example/a#:~:text=x"),
        ("https://b.example/#/a?id=h", "https://b.example/#/a?id=h"),
    ],
)
def test_where_the_directive_stands(url: str, marked: str) -> None:
    assert _with_directive(url, "text=x") == marked
    assert _with_directive(url, "") == url


@pytest.mark.parametrize(
    ("said", "last"),
    [
        ("One. Two three ", "Two three"),
        ("One. Two. ", "Two."),
        ("One [1](https://b.example). Two [2]", "Two"),
        ("第一。第二", "第二"),
    ],
)
def test_last_sentence(said: str, last: str) -> None:
    assert _last_sentence(said).strip() == last
