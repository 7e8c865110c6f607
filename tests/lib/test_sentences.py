import time
import timeit
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.markdown_page import Flavour
from lib.ranking import PLAIN
from lib.sentences import Sentence, split_markdown, split_passage, split_text
from tests.passages import make_passage, passage_of_sections


def texts(text: str, file_path: str = "a.md") -> list[str]:
    return [
        sentence.text for sentence in split_passage(make_passage(text, file_path)) if sentence.text
    ]


@pytest.mark.parametrize(
    "text",
    [
        "One thing here.|Two things there.",
        "Version 3.2 of it is here.|See 1.0.0-rc.1 too.",
        "See e.g. the tide table.|It is long.",
        "See e.g. The Tide Table for it.",
        "Some tools, i.e. Docker and Podman, are needed.",
        "Dr. Smith and Mr. Jones went to Washington D.C. in May.|They met there.",
        "The U.S. Army was there.|The U.S. government agreed.",
        "He lives in the U.S.|She does not.",
        "As Fig. 3 shows, it works.|See Sec. 4.2 and No. 5 and Eq. (3) for it.",
        "It was red vs. Blue back then.",
        "Use Node.js and Vue.js.|Then run it.",
        "The type std::io::Error is returned.|Call v.push(1).unwrap() next.",
        "Wait... what happened?|It broke.",
        "“Stop here.”|The master said so.",
        '"Stop here." she said.',
        "(This is an aside.)|Then it goes on.",
        "Is it safe?|Yes, the harbour is safe!|Go on.",
        "Do you use Yahoo!?|I do not.",
        "In St. Louis, Ph.D. students and J. R. R. Tolkien fans met.|They talked.",
        "Apples, pears, etc. are fruit.|We like them.",
        "We sell apples, pears, etc.|They are cheap.",
        "It ran from Jan. 5 to Feb. 10, 2020 at 5 p.m. on Monday.",
        "The U.N. was founded in 1945.|It has members.",
        "Smith et al. (2009) found it.|Others did not.",
        "iPhone sales rose.|iOS did too.",
        "Set the option first.|npm installs it then.",
        "1. First do this.|2. Then do that.",
        "See https://example.com/a.b?c=d.|It is there.",
        "Wir fahren z. B. nach Rom.|Dort ist es schön.",
        "El Sr. García vive aquí.|Él es médico.",
        "यह एक वाक्य है।|यह दूसरा है।",
        "هل هذا صحيح؟|نعم، هذا صحيح.",
    ],
)
def test_where_sentences_end(text: str) -> None:
    assert split_text(text.replace("|", " ")) == text.split("|")


@pytest.mark.parametrize(
    "text",
    ["潮は六時間ごとに変わります。|船は二本の綱で係留します。", "他说：“你好。”|然后他走了。"],
)
def test_full_stops_that_need_no_space(text: str) -> None:
    assert split_text(text.replace("|", "")) == text.split("|")


def test_markup_is_not_shown() -> None:
    text = "The **tide** [turns](x.md) [in `six` hours][1].\n\n[1]: y.md\n"
    assert texts(text) == ["The tide turns in six hours."]


def test_headings_are_no_sentences() -> None:
    assert texts("# Tides\n\n## High tide\n\nIt is high.\n") == ["It is high."]


def test_each_sentence_knows_its_section() -> None:
    text = (
        "# Prose\n\nIt is one.\n\n## List\n\n- An item.\n\n## Term\n\nTide\n: It turns.\n\n"
        "## Table\n\n|a|b|\n|-|-|\n|c|d|\n\n## Code\n\n```sh\nls\n```\n"
    )
    passage = passage_of_sections(text)
    found = [(each.text, passage.sections[each.section].heading) for each in split_passage(passage)]
    assert found == [
        ("It is one.", "Prose"),
        ("An item.", "List"),
        ("It turns.", "Term"),
        ("a: c; b: d", "Table"),
        ("", "Code"),
    ]
    blocks = [each.block for each in split_passage(passage)]
    assert len(set(blocks)) == len(blocks)


def test_items_are_sentences_of_their_own() -> None:
    found = split_passage(
        make_passage("You need:\n\n- a boat\n- two lines.\n  They are long.\n\nGo.\n")
    )
    assert [(each.text, each.listed) for each in found] == [
        ("You need:", False),
        ("a boat", True),
        ("two lines.", True),
        ("They are long.", True),
        ("Go.", False),
    ]
    assert found[2].block == found[3].block != found[1].block


def test_a_row_s_cells_stand_under_their_names() -> None:
    text = "| Name | Depth |\n|---|---|\n| Cove | 3 m |\n| Bay | |\n"
    assert texts(text) == ["Name: Cove; Depth: 3 m", "Name: Bay"]


def test_a_row_keeps_its_header_and_cells() -> None:
    [row] = split_markdown("| Sign | *Use* |\n|---|---|\n| `a \\| b` | one_two |\n")
    assert row.text == "Sign: a | b; Use: one_two"
    assert (row.header, row.cells) == (("Sign", "Use"), ("`a | b`", "one_two"))


def test_a_step_keeps_its_number() -> None:
    found = split_markdown(
        "3. Fill it.\n3. Wait.\n\n   ```sh\n   x\n   ```\n\n   Go on.\n   - Or not.\n"
    )
    assert [(each.text, each.list_marker, each.block) for each in found] == [
        ("Fill it.", "3.", 0),
        ("Wait.", "4.", 1),
        ("Go on.", "4.", 1),
        ("Or not.", "-", 2),
    ]


def test_a_definition_has_its_terms() -> None:
    text = "Pots:\n\n`width`\n: How wide. It is seven.\n\n*Height*:\n: How tall.\n\nDone.\n"
    assert [(each.text, each.label) for each in split_markdown(text)] == [
        ("Pots:", ""),
        ("How wide.", "`width`"),
        ("It is seven.", "`width`"),
        ("How tall.", "Height"),
        ("Done.", ""),
    ]


@pytest.mark.parametrize(
    ("text", "flavour"),
    [
        ('=== "A_b"\n\n    One.\n\n=== "Two"\n\n    ```sh\n    x\n    ```\n\nOut.\n', "commonmark"),
        (
            "<Tabs>\n<Tab label='A_b'>\n\nOne.\n\n</Tab>\n<Tab label='Two'>\n\n"
            "```sh\nx\n```\n\n</Tab>\n</Tabs>\n\nOut.\n",
            "mdx",
        ),
        ("::: tab A_b\nOne.\n:::\n::: tab Two\n```sh\nx\n```\n:::\nOut.\n", "commonmark"),
        ("```sh [Two]\nx\n```\n\nOut.\n", "commonmark"),
    ],
)
def test_the_label_of_a_tab_stays_with_its_text_and_code(text: str, flavour: Flavour) -> None:
    *tab, code, out = split_markdown(text, flavour)
    assert [(each.text, each.label, each.code) for each in tab] in ([], [("One.", "A_b", "")])
    assert (code.text, code.code) == ("", "**Two**\n\n```sh\nx\n```")
    assert (out.text, out.label) == ("Out.", "")


def test_a_label_on_the_line_of_its_text_stays_apart() -> None:
    text = '<Tabs>\n<Tab label="npm">Run it.</Tab><Tab label="yarn">Go.</Tab>\n</Tabs>\n'
    assert " ".join(texts(text, "a.mdx")) == "npm: Run it. yarn: Go."


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("See `**/__a__/**`, `C:\\new` and *it*.", "See `**/__a__/**`, `C:\\new` and it."),
        ("Use ``a`b`` or `` ` ``.", "Use ``a`b`` or `` ` ``."),
        (r"Here $a*b*c_{1}$ and $$x\{1\}$$ hold.", r"Here $a*b*c_{1}$ and $$x\{1\}$$ hold."),
        ("It costs $5, *not* $10.", "It costs $5, not $10."),
        (r"A \*star\* and a[1].", r"A \*star\* and a\[1\]."),
    ],
)
def test_code_and_formulas_are_quoted_as_written(source: str, shown: str) -> None:
    assert [each.markdown for each in split_markdown(source)] == [shown]


def test_no_sentence_ends_inside_of_code_or_a_formula() -> None:
    text = "Write `Stop. Go` or $a. B$ there. Then wait."
    assert texts(text) == ["Write Stop. Go or $a. B$ there.", "Then wait."]


def test_a_block_of_a_formula_follows_its_sentence() -> None:
    [found] = split_markdown("It holds:\n\n$$\na_1 * b\n$$\n")
    assert found.code == "$$\na_1 * b\n$$"


def test_rows_whose_header_is_elsewhere() -> None:
    assert texts("| Cove | 3 m |\n| Bay | 4 m |\n") == ["Cove; 3 m", "Bay; 4 m"]


def test_code_goes_with_the_sentence_before() -> None:
    text = "Listen. Then call:\n\n```bash\nradio\n```\n\n```\nover\n```\n\nGo on.\n"
    assert [(each.text, each.code) for each in split_passage(make_passage(text))] == [
        ("Listen.", ""),
        ("Then call:", "```bash\nradio\n```\n\n```\nover\n```"),
        ("Go on.", ""),
    ]


def test_a_piece_of_a_long_block_is_code() -> None:
    [found] = split_passage(make_passage("x = 1. Y = 2\n", kind="code", language="python"))
    assert found == Sentence("", "```python\nx = 1. Y = 2\n```")


def test_a_block_that_only_includes_a_file_shows_nothing() -> None:
    [found] = split_passage(make_passage("See:\n\n```rust\n{{#include main.rs}}\n```\n"))
    assert found.code == ""


def test_a_fence_inside_a_block_does_not_end_it() -> None:
    [found] = split_passage(make_passage("Write:\n\n````md\n```\ncode\n```\n````\n"))
    assert found.code == "````md\n```\ncode\n```\n````"


@pytest.mark.parametrize(
    ("text", "file_path"),
    [
        (":::tip Good to know\n\nIt is calm.\n\n:::\n", "a.md"),
        ('!!! note "Mind this"\n    It is calm.\n', "a.md"),
        ("    It is calm.\n", "a.md"),
        ("> [!NOTE]\n> It is calm.\n", "a.md"),
        ("{{#include sea.md}}\n\nIt is calm.\n", "a.md"),
        ("{{< figure src=x.png >}}\nIt is calm.\n{% endhint %}\n", "a.md"),
        ("It is {{< param sea >}}calm.[^1]\n", "a.md"),
        ("import Tabs from '@theme/Tabs'\n\n<Tabs>\n<TabItem>\n\nIt is calm.\n\n</Tabs>\n", "a.md"),
        ("export const sea = 1\n\n<Sea depth={4}>It is calm.</Sea>\n", "a.mdx"),
        ("```{note}\nIt is calm.\n```\n", "a.md"),
        ("[TOC]\n\nIt is calm.\n", "a.md"),
        ('<Listing caption="A Box<T>">\n\nIt is calm.\n\n</Listing>\n', "a.md"),
        (":octicons-bell-24: It is [calm].\n", "a.md"),
    ],
)
def test_what_is_said_to_the_generator_is_left_out(text: str, file_path: str) -> None:
    assert texts(text, file_path) == ["It is calm."]


def test_what_is_said_about_the_generator_stays() -> None:
    text = "Write `{{#include sea.md}}`, `[TOC]` or `:::tip` there.\n"
    assert texts(text) == ["Write {{#include sea.md}}, [TOC] or :::tip there."]


@given(st.text())
def test_splitting_loses_nothing(text: str) -> None:
    found = split_text(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(each == " ".join(each.split()) and each for each in found)


@pytest.mark.parametrize("file_path", ["a.md", "a.mdx"])
def test_a_selection_is_plain_text(file_path: str) -> None:
    text = "{/* one. */ x}  Two\nlines.\n\n- a *b*\n \n\n# No heading\n\n```\ncode. More."
    found = split_passage(make_passage(text, file_path, kind=PLAIN))
    assert [(each.text, each.block) for each in found] == [
        ("{/* one. */ x} Two lines.", 0),
        ("- a *b*", 1),
        ("# No heading", 2),
        ("``` code.", 3),
        ("More.", 3),
    ]


HOSTILE_SELECTIONS = [
    "{" + "/* a */ " * 600 + "x}",
    "{/*" * 1_600,
    ">" * 100 + "a" + "\na" * 2_400,
    "|a" * 625 + "|\n" + "|-" * 625 + "|\n" + "|a|\n" * 600,
    "[" * 5_000,
    "\n " * 2_500,
]


@pytest.mark.parametrize("text", HOSTILE_SELECTIONS, ids=lambda text: text[:8])
def test_no_selection_takes_long(text: str) -> None:
    began = time.process_time()
    split_passage(make_passage(text, "a.mdx", kind=PLAIN))
    assert time.process_time() - began < 0.02


@given(st.text(), st.sampled_from(["a.md", "a.mdx"]), st.sampled_from(["prose", "code", PLAIN]))
def test_no_text_raises(text: str, file_path: str, kind: str) -> None:
    split_passage(make_passage(text, file_path, kind=kind))


@pytest.mark.parametrize("text", [".", "a. ", ". ", ".'", "!) ", "a.b", "1. ", "…"])
def test_a_long_text_takes_as_long_as_its_parts(text: str) -> None:
    """A selection can contain any text."""
    some, more = (
        min(
            timeit.repeat(
                partial(split_text, text * times), timer=time.process_time, number=1, repeat=3
            )
        )
        for times in (1_000, 16_000)
    )
    assert more < 64 * max(some, 0.0005)  # linear time gives 16, quadratic 256


@pytest.mark.parametrize(
    "text",
    [
        "``` " + " " * 8_000 + "`",
        "{{< a" * 2_000,
        "{% a" * 2_000,
        "`" * 8_000 + "\n",
        "<A b=" + " " * 8_000 + "x",
        "a. B" * 2_000,
        "|" + "a" * 4_000 + "|\n|-|\n" + "|b|\n" * 500,
    ],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    """Regression: most of these took seconds at this size, or returned megabytes."""
    started = time.process_time()
    found = split_markdown(text)
    assert time.process_time() - started < 0.8
    assert sum(len(sentence.text) for sentence in found) < 8 * len(text)
