"""Extractive answers: selection of sentences, and their Markdown."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from textwrap import indent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lib.citations import Citation, Citations
from lib.extractive import (
    _MAX_CHARACTERS,
    _MAX_CODE_CHARACTERS,
    _MAX_PASSAGES,
    _Extract,
    extract_in_steps,
    render_extracts,
)
from lib.ranking import PLAIN, Passage
from lib.runtime import run_to_end
from lib.sentences import Sentence, split_passage
from lib.terms import terms
from tests.passages import extract, make_passage, passage_of_sections

TIDES = "## Tides\n\nThe tide turns every six hours. The moon causes it. Gulls like fish.\n"
MOORING = "## Mooring\n\nA boat is moored with two lines. Hang fenders on the quay side.\n"


def sentences(question: str, *texts: str) -> list[tuple[int, str]]:
    return [
        (each.number, sentence.text)
        for each in extract(question, [make_passage(text) for text in texts])
        for sentence in each.sentences
    ]


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("When does the tide turn?", (1, "The tide turns every six hours.")),
        ("What causes the tides, the moon?", (1, "The moon causes it.")),
        ("How is a boat moored?", (2, "A boat is moored with two lines.")),
        ("on which side of the quay do I hang fenders", (2, "Hang fenders on the quay side.")),
    ],
)
def test_the_sentence_that_answers_comes_along(question: str, best: tuple[int, str]) -> None:
    assert best in sentences(question, TIDES, MOORING)


def test_a_sentence_that_has_nothing_of_the_question_stays_away() -> None:
    found = sentences("When does it turn?", f"{TIDES}\nIn spring it is high.\n")
    assert (1, "In spring it is high.") not in found


def test_the_words_are_the_book_s_own_without_markup() -> None:
    text = "The **tide** turns [every](x.md) `six` hours.\n"
    assert sentences("tide turns", text) == [(1, "The tide turns every six hours.")]


def test_headings_are_no_sentences() -> None:
    assert sentences("Tides", "## Tides and more tides\n") == []


def test_the_block_behind_a_sentence_comes_along() -> None:
    text = "Call the harbour by radio:\n\n```bash\nradio --channel 9\n```\n"
    [found] = extract("How do I call the harbour by radio?", [make_passage(text)])
    assert found.sentences[0].code == "```bash\nradio --channel 9\n```"


def test_of_a_block_too_long_to_quote_the_beginning_is_shown() -> None:
    code = "radio --channel 9\n" * 300
    text = f"Call the harbour by radio:\n\n```sh\nlisten\n```\n\n````sh\n{code}````\n"
    [found] = extract("How do I call the harbour by radio?", [make_passage(text)])
    shown = found.sentences[0].code
    assert shown.startswith("```sh\nlisten\n```\n\n```sh\nradio --channel 9\n")
    assert shown.endswith("\nradio --channel 9\n…\n```")
    assert _MAX_CODE_CHARACTERS - 200 < len(shown) < _MAX_CODE_CHARACTERS


def test_code_without_its_beginning_is_quoted_only_if_there_is_nothing_else() -> None:
    middle = make_passage("```sh\n…\nradio --channel 9\n…\n```\n", heading="Radio")
    other = make_passage("The harbour has a radio.\n")
    assert [each.number for each in extract("Which radio channel?", [middle, other])] == [2]
    [found] = extract("Which radio channel?", [middle])
    assert found.sentences[0].code.startswith("```sh\n…\nradio")


MASTER = "The harbour master answers."


@pytest.mark.parametrize(
    ("sentence", "quoted"), [("Its radio is old.", "Its radio is old."), ("By radio:", MASTER)]
)
def test_a_block_too_long_to_quote_stays_away(sentence: str, quoted: str) -> None:
    text = f"{MASTER}\n\n{sentence}\n\n```\n{'x' * _MAX_CODE_CHARACTERS}y\n```\n"
    found = extract("How old is the radio?", [make_passage(text)])
    shown = [(each.text, each.code) for one in found for each in one.sentences]
    assert (quoted, "") in shown
    assert not any(code or text.endswith(":") for text, code in shown)


def test_code_alone_stands_under_its_heading() -> None:
    listing = make_passage("radio --channel 9\n", kind="code", heading="Calling")
    [found] = extract("How do I call by radio?", [listing])
    [sentence] = found.sentences
    assert (sentence.text, sentence.code) == ("Calling", "```\nradio --channel 9\n```")


RULES = "The harbour has rules:\n\n- Moor at the quay.\n- Pay the master.\n\nGulls like fish.\n"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What are the rules?", ["The harbour has rules:", "Moor at the quay.", "Pay the master."]),
        ("Whom do I pay?", ["The harbour has rules:", "Pay the master."]),
    ],
)
def test_a_list_is_read_with_what_announces_it(question: str, expected: list[str]) -> None:
    assert [text for _, text in sentences(question, RULES)][: len(expected)] == expected


@pytest.mark.parametrize("end", ["The rules are these:", "Table 3: Rules"])
def test_what_announces_nothing_stays_away(end: str) -> None:
    cut_off = f"The harbour has two rules.\n\n{end}\n"
    assert sentences("What are the rules?", cut_off) == [(1, "The harbour has two rules.")]


def test_what_announces_nothing_is_not_quoted_alone_either() -> None:
    cut_off, other = "## Rules\n\nThe harbour has rules:\n", "Boats have two rules.\n"
    assert sentences("harbour rules", cut_off, other) == [(2, "Boats have two rules.")]


def test_a_paragraph_that_refers_to_the_one_before_comes_with_it() -> None:
    text = "Ships wait for the tide.\n\nA bell hangs on the pier.\n\nIt is made of bronze.\n"
    assert sentences("What is bronze?", text) == [
        (1, "A bell hangs on the pier."),
        (1, "It is made of bronze."),
    ]


FAQ = """## Is the harbour lit?

No. The pilot knows the way.

## Can I moor at night?

Yes. A light burns on the quay.

## Can I sleep on board at night?

No. The harbour closes.
"""


@pytest.mark.parametrize("form", [str, lambda faq: re.sub(r"## (.+)", r"**\1**", faq)])
def test_a_question_keeps_its_answer_and_no_other(form: Callable[[str], str]) -> None:
    text = form(FAQ)
    passage = passage_of_sections(f"# FAQ\n\n{text}" if "##" not in text else text)
    [found] = extract("Can I moor at night?", [passage, make_passage(TIDES)])
    said = [each.text for each in found.sentences if not each.text.endswith("?")]
    assert said == ["Yes.", "A light burns on the quay."]


def test_a_heading_that_asks_the_same_beats_scattered_words() -> None:
    scattered = make_passage(
        "Users ask the pilot what they can see. The log shows whom users see.\n"
    )
    asked = passage_of_sections("## Can I see what users ask?\n\nNo, nothing is stored.\n")
    assert extract("Can I see what users ask?", [scattered, asked])[0].number == 2


def test_a_section_comes_before_its_subsections_and_from_its_beginning() -> None:
    whole = passage_of_sections("## Pilots\n\nGuides of ships. They know the reefs.\n")
    part = passage_of_sections("### Ranks of pilots\n\nPilots have ranks. A pilot has a boat.\n")
    found = extract("What is a pilot?", [part, whole])
    assert found[0].number == 2
    assert [each.text for each in found[0].sentences] == [
        "Guides of ships.",
        "They know the reefs.",
    ]


def test_a_part_without_its_heading_is_no_beginning() -> None:
    later = make_passage("Then the pilot leaves.\n", heading="Pilots", section="Pilots", start=90)
    first = passage_of_sections("## Pilots\n\nGuides of ships.\n")
    assert extract("pilots", [later, first])[0].number == 2


def test_a_section_goes_on_in_the_next_passage() -> None:
    begin = make_passage("## Pilots\n\nGuides of ships.\n", heading="Pilots")
    other = make_passage("Pilots of planes fly.\n", "b.md", heading="Planes")
    rest = make_passage("They know the reefs.\n", heading="Pilots", start=29)
    found = extract("What is a pilot?", [begin, other, rest])
    assert [each.number for each in found] == [1, 3]


def test_the_topic_outranks_a_common_word() -> None:
    asked = {"option": 1.0, "ingest": 4.0}
    options = passage_of_sections("## Options\n\nThis option is set. Another option is not.\n")
    ingest = passage_of_sections("## Update\n\nTo ingest again, use the option dry-run.\n")
    assert run_to_end(extract_in_steps(asked, [options, ingest]))[0].number == 2


def test_another_section_follows_only_if_it_adds_something() -> None:
    tides = make_passage("The tide turns every six hours.\n")
    same = make_passage("Every six hours, the tide turns again, as the pilot said.\n")
    moon = make_passage("The moon causes every tide.\n")
    question = "Does the tide turn with the moon?"
    assert [each.number for each in extract(question, [tides, same, moon])] == [1, 3]


def test_an_answer_that_misses_words_of_the_question_goes_on_elsewhere() -> None:
    tides = "The tide turns every six hours.\n"
    moon = make_passage("Captains fear the spring.\n")
    question = "When does the tide turn in spring for captains?"
    here = make_passage(tides, heading="Tides")
    assert [each.number for each in extract(question, [here, moon])] == [1, 2]
    # An entry of a FAQ is whole.
    entry = make_passage(f"## Does the tide turn?\n\n{tides}", heading="Does the tide turn?")
    assert [each.number for each in extract(question, [entry, moon])] == [1]


def test_no_sentence_is_quoted_twice() -> None:
    pilot = "The pilot fishes at night in the harbour.\n"
    gate = "The gate is old. It opens for captains. It closes in spring.\n"
    found = [text for _, text in sentences("spring fish pilot captain", pilot, gate)]
    assert "It opens for captains." in found or "It closes in spring." in found
    assert len(found) == len(set(found))


def test_of_a_long_paragraph_the_best_sentences_are_quoted() -> None:
    text = " ".join(
        ["Gulls fly over the quay.", "A pilot has a boat. It is red and fast."]
        + ["Ships wait."] * 120
    )
    [found] = extract("What is red?", [make_passage(text)])
    quoted = [each.text for each in found.sentences]
    assert quoted[:2] == ["A pilot has a boat.", "It is red and fast."]
    assert sum(map(len, quoted)) <= _MAX_CHARACTERS


def test_a_short_list_without_an_introduction_is_quoted_whole() -> None:
    text = "- Boats may stay three days.\n- Then the master comes.\n"
    assert len(sentences("How long may boats stay?", text)) == 2


def test_of_a_short_list_of_definitions_the_one_asked_for_is_quoted() -> None:
    text = "Width\n: How wide it is. Default is 7.\n\nHeight\n: How tall it is. Default is 9.\n"
    assert answer("What is the default height?", text) == (
        "- Height: How tall it is. [1] Default is 9. [1]"
    )


STEPS = "To enter the harbour:\n\n" + "".join(
    f"{n}. {step}\n" for n, step in enumerate(["Call.", "Wait.", "Hoist the `flag`."], 1)
)


def test_steps_are_quoted_from_the_first_one_with_their_numbers() -> None:
    assert answer("Where does the flag go?", STEPS) == (
        "To enter the harbour: [1]\n\n1. Call. [1]\n2. Wait. [1]\n3. Hoist the `flag`. [1]"
    )


def test_steps_follow_a_sentence_without_a_colon_and_keep_their_code() -> None:
    code = "```sh\n" + "say 'permission to enter'\n" * 40 + "```"
    steps = f"1. Say this:\n\n{indent(code, '   ')}\n\n2. Go.\n"
    text = f"# Port\n\n## Enter\n\nFollow these steps.\n\n{steps}"
    passage = make_passage(text, chapter="Port", heading="Enter")
    [found] = extract("How do I enter?", [passage])
    assert [(each.text, each.code) for each in found.sentences] == [
        ("Follow these steps.", ""),
        ("Say this:", code),
        ("Go.", ""),
    ]


def test_steps_whose_beginning_is_missing_stay_away() -> None:
    text = "3. Hoist the flag.\n4. Enter.\n\nA flag is red.\n"
    assert sentences("Where does the flag go?", text) == [(1, "A flag is red.")]


def test_items_of_one_word_are_quoted() -> None:
    text = "These flags are known:\n\n- Red\n- Blue\n"
    assert [each for _, each in sentences("Which flags are known?", text)] == [
        "These flags are known:",
        "Red",
        "Blue",
    ]


TABLE = (
    "| Key | Default | Meaning |\n|---|---|---|\n| `lamp` | on | A light |\n| `a\\|b` | 400d | |\n"
)


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("What is the default of lamp?", ["| `lamp` | on | A light [1] |"]),
        ("400d", ["| `a\\|b` | 400d | [1] |"]),
        (
            "Which keys have a default?",
            ["| `lamp` | on | A light [1] |", "| `a\\|b` | 400d | [1] |"],
        ),
    ],
)
def test_a_row_is_a_table_with_its_header(question: str, rows: list[str]) -> None:
    assert answer(question, TABLE).split("\n") == [
        "| Key | Default | Meaning |",
        "| --- | --- | --- |",
        *rows,
    ]


def test_tabs_keep_their_labels() -> None:
    text = '=== "Linux"\n\n    Call the harbour by radio.\n\n=== "Windows"\n\n    Call by phone.\n'
    assert answer("How do I call the harbour by radio?", text).startswith("Linux: Call the harbour")


def test_an_exercise_does_not_answer() -> None:
    text = "- Why do pilots know the reefs?\n\nPilots know the reefs by heart.\n"
    assert sentences("Why do pilots know the reefs?", text)[0] == (
        1,
        "Pilots know the reefs by heart.",
    )


def test_long_code_that_nothing_introduces_stays_away() -> None:
    listing = f"The radio answers.\n\n```\n{'call ' * 200}\n```\n"
    [found] = extract("radio", [make_passage(listing)])
    assert found.sentences[0].code == ""
    [found] = extract("radio call", [make_passage(listing)])
    assert found.sentences[0].code


def test_the_heading_tells_what_a_sentence_is_about() -> None:
    one = make_passage("It weighs nine tons. Gulls like it.\n", heading="Bell")
    other = make_passage("It weighs two tons. Gulls like it.\n", heading="Anchor")
    found = extract("What does the bell weigh?", [other, one])
    assert found[0].number == 2


JOINED = passage_of_sections("""## Brewing

The teapot takes four minutes.

## Options

- `--lid` closes the lid.
- `--pour` pours.

## Terms

Spout
: Where the tea leaves the pot.

## Codes

| Code | Meaning |
|---|---|
| 3 | The kettle is empty |
| 4 | The cup is full |

## Debian

```sh
sudo apt install teapot
```

## Fedora

```sh
sudo dnf install teapot
```
""")


@pytest.mark.parametrize(
    ("question", "heading", "quoted"),
    [
        ("How long does the teapot take to brew?", "Brewing", "The teapot takes four minutes"),
        ("Which flag closes the lid?", "Options", "closes the lid"),
        ("What is the spout?", "Terms", "Where the tea leaves"),
        ("What does code 3 mean?", "Codes", "The kettle is empty"),
        ("How do I install it on Fedora?", "Fedora", "sudo dnf install teapot"),
    ],
)
def test_each_quotation_is_cited_under_its_heading(
    question: str, heading: str, quoted: str
) -> None:
    citations = Citations([JOINED])
    pieces = [*render_extracts(extract(question, [JOINED]), citations)]
    found = {each.source.heading: each for each in pieces if isinstance(each, Citation)}
    assert quoted in found[heading].text
    assert found[heading].source.url == f"https://b.example/p#{heading.lower()}"
    assert f"[{found[heading].marker}]({found[heading].source.url}" in "".join(
        piece for piece in pieces if isinstance(piece, str)
    )
    assert next(iter(found)) == heading


def test_a_question_in_another_language_gets_the_best_passage() -> None:
    found = sentences("Combien pèse la cloche du port de Quire?", TIDES, "Quire is a harbour.\n")
    assert {number for number, _ in found} == {1}


def test_nothing_is_extracted_from_nothing() -> None:
    assert extract("tide?", []) == []
    assert extract("tide?", [make_passage("")]) == []
    assert extract("tide?", [make_passage("# Only\n\n## Headings\n")]) == []


def test_a_question_without_a_word_of_the_book_still_gets_the_best_passage() -> None:
    found = sentences("xyzzy plugh", TIDES, MOORING)
    assert found
    assert {number for number, _ in found} == {1}


def test_a_sentence_that_stands_twice_is_quoted_once() -> None:
    found = [text for _, text in sentences("tide turns six hours", TIDES, TIDES)]
    assert found.count("The tide turns every six hours.") == 1


WORDS = st.sampled_from(
    "tide turns hours moon boat `code` **bold** quay. When? 潮。 [a](b)".split()
)
TEXT = st.lists(WORDS, max_size=40).map(" ".join)


@given(TEXT, st.lists(TEXT, max_size=6))
def test_its_bounds_hold(question: str, texts: list[str]) -> None:
    found = extract(question, [make_passage(text) for text in texts])
    assert len(found) <= _MAX_PASSAGES
    quoted = [sentence for each in found for sentence in each.sentences]
    blocks = {(each.number, sentence.block) for each in found for sentence in each.sentences}
    assert len(blocks) == 1 or sum(len(each.text) for each in quoted) <= _MAX_CHARACTERS
    assert sum(len(each.code) for each in quoted) <= _MAX_CODE_CHARACTERS
    assert len({each.number for each in found}) == len(found)
    for each in found:
        assert each.sentences
        assert 1 <= each.number <= len(texts)
        places = [sentence.block for sentence in each.sentences]
        assert places == sorted(places)


@given(st.text(), st.lists(st.text(max_size=80), max_size=3))
def test_no_text_raises(question: str, texts: list[str]) -> None:
    extract(question, [make_passage(text, "a.mdx") for text in texts])


PASSAGES = [
    Passage(
        chunk_id=name,
        text=name,
        file_path="a.md",
        chapter="",
        section="",
        heading="",
        url=None,
        start_char=0,
        end_char=1,
        score=0.5,
    )
    for name in "ab"
]


def answer(question: str, text: str) -> str:
    passages = [make_passage(text)]
    pieces = render_extracts(extract(question, passages), Citations(passages))
    return "".join(piece for piece in pieces if isinstance(piece, str)).strip()


def text_of(*extracts: _Extract) -> str:
    pieces = render_extracts(extracts, Citations(PASSAGES))
    return "".join(piece for piece in pieces if isinstance(piece, str))


def test_sentences_of_a_paragraph_stand_together_and_others_apart() -> None:
    sentences = (Sentence("One.", block=0), Sentence("Two.", block=0), Sentence("Three.", block=1))
    assert text_of(_Extract(1, sentences)) == "One. [1] Two. [1]\n\nThree. [1]\n\n"


def test_items_are_a_list() -> None:
    sentences = (
        Sentence("Two lines:", block=0),
        Sentence("A bow line.", block=1, listed=True),
        Sentence("It is long.", block=1, listed=True),
        Sentence("A stern line.", block=2, listed=True),
    )
    assert text_of(_Extract(1, sentences)) == (
        "Two lines: [1]\n\n- A bow line. [1] It is long. [1]\n- A stern line. [1]\n\n"
    )


def test_code_follows_its_sentence_whole() -> None:
    code = "```sh\nmake\n```"
    sentences = (Sentence("Run it.", code), Sentence("Then wait.", block=1))
    assert text_of(_Extract(1, sentences)) == f"Run it. [1]\n\n{code}\n\nThen wait. [1]\n\n"


def test_code_that_nothing_announces_has_its_marker_below() -> None:
    code = "```sh\nmake\n```"
    assert text_of(_Extract(1, (Sentence("", code),))) == f"{code}\n\n[1]\n\n"


def test_a_source_is_cited_after_its_first_marker_once() -> None:
    extracts = (
        _Extract(2, (Sentence("One."), Sentence("Two."))),
        _Extract(1, (Sentence("Three."),)),
    )
    pieces = list(render_extracts(extracts, Citations(PASSAGES)))
    cited = [piece for piece in pieces if isinstance(piece, Citation)]
    assert [(each.marker, each.chunk_id) for each in cited] == [(1, "b"), (2, "a")]
    assert pieces.index(cited[0]) == pieces.index("One. [1]") + 1


@pytest.mark.parametrize("text", ["Vec<T> and *args", "a[0] `x` __init__ _x_", "# no heading"])
def test_what_looks_like_markup_is_shown_as_it_is(text: str) -> None:
    assert shown(Sentence(text).markdown) == text


@given(st.text(st.sampled_from("ab _*`<>[]\\#-+1.)~!&"), min_size=1, max_size=20))
def test_whatever_a_sentence_holds(text: str) -> None:
    text = " ".join(text.split())
    if text:
        assert shown(Sentence(text).markdown) == text


def shown(markdown: str) -> str:
    [_, inline, _] = MarkdownIt("commonmark").parse(markdown)
    assert all(token.type in ("text", "text_special") for token in inline.children or [])
    return "".join(token.content for token in inline.children or [])


def test_a_selection_of_many_short_sentences_is_read_in_steps() -> None:
    """Neither its sentences nor a question of many words keep other readers waiting."""
    text = " ".join(f"w{n} b{n}." for n in range(500))
    passages = [make_passage(text, kind=PLAIN), *(make_passage(f"{n} {text}") for n in range(5))]
    for passage in passages:
        split_passage(passage)
    asked = dict.fromkeys(terms(text[:1_000]), 1.0)
    steps, times = extract_in_steps(asked, passages), []
    with suppress(StopIteration):
        while True:
            began = time.process_time()
            next(steps)
            times.append(time.process_time() - began)
    assert sorted(times)[-2] < 0.03
