import re
import time
import uuid
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.chunking import Chunk, ChunkSection, _title_from_path, chunk_page
from lib.documents import Document
from lib.markdown import parse_page
from lib.markdown_page import Block, Flavour, Page, apply_edits, render
from lib.sentences import split_markdown
from lib.templates import FILLER
from lib.tokens import estimate_tokens
from tests.pages import FLAVOURS, SENTENCE, texts, words


def chunks(
    text: str, budget: int = 60, flavour: Flavour = "commonmark", path: str = "guide/page.md"
) -> list[Chunk]:
    page = parse_page(text, flavour)
    return chunk_page(Document(path, text, ""), page, budget=budget, count_tokens=words)


def shown(chunk: Chunk) -> str:
    """What readers see of a chunk."""
    return f"{chunk.lead}{apply_edits(chunk.text, chunk.edits)}{chunk.tail}"


def headings(found: Iterable[Chunk]) -> list[list[str]]:
    return [[section.heading for section in chunk.sections] for chunk in found]


def leaves(blocks: Iterable[Block]) -> Iterable[Block]:
    for block in blocks:
        if block.children:
            yield from leaves(block.children)
        elif block.text.strip() and block.kind not in ("heading", "html", "marker"):
            yield block


TAGS = re.compile(r"</?[A-Za-z][^<>]*>")


def prose_left_out(page: Page, text: str, found: list[Chunk]) -> str:
    covered = bytearray(len(text))
    for chunk in found:
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    return "".join(
        text[i]
        for leaf in leaves(page.blocks)
        for i in range(max(leaf.start, leaf.body), leaf.end)  # without the line of a fence
        if not covered[i]
        and not text[i].isspace()
        and page.shown[i : i + 1] != FILLER
        # a piece that contains only tags may be dropped
        and not any(tag.start() <= i < tag.end() for tag in TAGS.finditer(text))
    )


@settings(max_examples=400, deadline=None)
@given(texts, st.sampled_from(FLAVOURS), st.sampled_from([32, 60, 200]))
def test_any_page(text: str, flavour: Flavour, budget: int) -> None:
    document = Document("a/b.md", text, "")
    page = parse_page(text, flavour)
    found = chunk_page(document, page, budget=budget, count_tokens=words)
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.end]
        assert chunk.text.strip()
        assert chunk.token_count == words(chunk.embed_text) <= budget
        assert words(chunk.text) <= budget
        assert uuid.UUID(chunk.chunk_id)
        assert chunk.heading_path
        places = [place for edit in chunk.edits for place in edit[:2]]
        assert places == sorted(places)
        assert not places or 0 <= places[0] <= places[-1] <= len(chunk.text)
        starts = [section.start for section in chunk.sections]
        assert starts[0] == chunk.start
        assert starts == sorted(set(starts))
        for section in chunk.sections:
            heading = page.headings[section.heading_index] if section.heading_index else None
            assert heading is None or (heading.text or section.heading) == section.heading
            assert heading is None or heading.start < chunk.end
    assert [chunk.start for chunk in found] == sorted(chunk.start for chunk in found)
    assert len({chunk.chunk_id for chunk in found}) == len(found)
    assert not prose_left_out(page, text, found) or not found
    for start, end in page.hidden:
        assert all(chunk.end <= start or end <= chunk.start for chunk in found)
    assert found == chunk_page(
        document, parse_page(text, flavour), budget=budget, count_tokens=words
    )


paragraphs = st.lists(
    st.one_of(
        st.integers(1, 12).map(lambda n: SENTENCE * n),
        st.integers(1, 40).map(lambda n: "```py\n" + "x = call(1)\n" * n + "```"),
        st.integers(1, 30).map(lambda n: "|a|b|\n|-|-|\n" + "|one two|three|\n" * n),
        st.integers(1, 20).map(lambda n: "- an item of a list\n" * n),
        st.integers(1, 4).map(lambda n: "#" * n + " Heading"),
        st.just("<!-- hidden -->"),
        st.just("漢字の文です。" * 30),
        st.just(">   quoted text, as it is\n" * 12),
    ),
    max_size=14,
)


@settings(max_examples=200, deadline=None)
@given(paragraphs, st.sampled_from(["\n", "\r\n"]), st.sampled_from([60, 120]))
def test_ordinary_pages_are_covered_and_cut_only_where_they_may_be(
    blocks: list[str], newline: str, budget: int
) -> None:
    text = "\ufeff" + "\n\n".join(blocks).replace("\n", newline)
    page = parse_page(text, "commonmark")
    found = chunk_page(Document("p.md", text, ""), page, budget=budget, count_tokens=words)
    assert prose_left_out(page, text, found) == ""
    cuts = {chunk.start for chunk in found} | {chunk.end for chunk in found}
    for block in leaves(page.blocks):
        inside = [cut for cut in cuts if block.start < cut < block.start + len(block.text.strip())]
        if block.kind == "row" or words(text[block.start : block.end]) < budget // 2:
            assert not inside
    for chunk in found:
        assert not all(line.startswith("#") for line in chunk.text.split(newline) if line)
        seen = "\n".join(map(render, parse_page(shown(chunk), "commonmark").blocks))
        assert written(seen) == written(chunk.embed_text)


def written(text: str) -> list[str]:
    """The words of a text, without headings, names of columns, languages, and marks."""
    return [word for word in re.findall(r"[^\s|`…>-]+", text) if word not in "Heading a b py P"]


def test_a_section_that_fits_is_one_chunk_under_its_heading() -> None:
    text = f"---\ntitle: Guide\n---\n\n# Guide\n\n{SENTENCE * 2}\n\n## Install\n\n{SENTENCE * 2}\n"
    intro, install = chunks(text)
    assert intro.text == f"# Guide\n\n{SENTENCE * 2}".strip()
    assert install.text == f"## Install\n\n{SENTENCE * 2}".strip()
    assert install.embed_text == f"Guide > Install\n\n{SENTENCE * 2}".strip()
    assert (install.chapter, install.heading_path) == ("Guide", ("Guide", "Install"))
    assert install.sections == (ChunkSection(install.start, 1, "Install", "Install"),)
    assert intro.sections == (ChunkSection(intro.start, 0, "", "Guide"),)


def test_section_is_the_first_level_below_the_title_and_heading_the_nearest() -> None:
    body = SENTENCE * 3
    text = f"# Guide\n\n## Install\n\n{body}\n\n#### On a Mac\n\n{body}\n\n# Appendix\n\n{body}\n"
    install, mac, appendix = chunks(text)
    assert mac.sections == (ChunkSection(mac.start, 2, "Install", "On a Mac"),)
    assert mac.heading_path == ("Guide", "Install", "On a Mac")
    assert appendix.sections == (ChunkSection(appendix.start, 3, "Appendix", "Appendix"),)
    assert appendix.heading_path == ("Guide", "Appendix")
    guide = ChunkSection(0, 0, "", "Guide")
    assert install.sections == (ChunkSection(0, 1, "Install", "Install", (guide,)),)


def test_text_before_the_first_heading_stands_under_the_page() -> None:
    first, second = chunks(f"{SENTENCE * 3}\n\n## Later\n\n{SENTENCE * 3}\n")
    assert first.sections == (ChunkSection(0, None, "", "Page"),)
    assert second.heading_path == ("Page", "Later")


def test_a_bare_heading_goes_to_what_stands_below_it() -> None:
    (chunk,) = chunks(f"# Guide\n\n## Install\n\n### Mac\n\n{SENTENCE}\n")
    assert chunk.text.startswith("# Guide")
    above = ChunkSection(0, 0, "", "Guide"), ChunkSection(9, 1, "Install", "Install")
    assert chunk.sections == (ChunkSection(0, 2, "Install", "Mac", above),)
    assert chunk.embed_text == f"Guide > Install > Mac\n\n{SENTENCE}".strip()


def test_a_bare_heading_at_the_end_goes_to_what_stands_above_it() -> None:
    (chunk,) = chunks(f"# Guide\n\n{SENTENCE * 2}\n\n## To do\n")
    assert chunk.text.endswith("## To do")
    assert chunk.embed_text.endswith("To do")


@pytest.mark.parametrize(
    "text", ["", "# Only\n", "# One\n\n## Two\n", "<!-- x -->", "---\na: b\n---"]
)
def test_pages_without_text_have_no_chunks(text: str) -> None:
    assert chunks(text) == []


def test_tiny_sections_under_one_parent_are_merged_up_to_half_the_budget() -> None:
    text = "# Api\n\n" + "".join(f"## f{i}\n\nReturns {i}.\n\n" for i in range(20))
    found = chunks(text, budget=80)
    assert 1 < len(found) < 10
    assert all(chunk.token_count <= 50 for chunk in found)
    assert "f1\n\nReturns 1." in found[0].embed_text
    sections = [section for chunk in found for section in chunk.sections]
    assert [section.heading for section in sections] == [f"f{i}" for i in range(20)]
    assert all(text[each.start :].startswith(f"## {each.heading}\n") for each in sections[1:])


def test_small_sections_of_different_parents_are_not_merged() -> None:
    body = "Thirty words or so " * 8
    text = f"# T\n\n## A\n\n{body}\n\n### A1\n\nShort.\n\n## B\n\n### B1\n\nShort.\n"
    assert headings(chunks(text)) == [["A"], ["A1"], ["B1"]]


def test_a_heading_without_text_has_the_label_of_the_one_above() -> None:
    text = "# T\n\n## Posts\n\n#### <!-- option -->\n\nOne.\n\n#### <!-- option -->\n\nTwo.\n"
    (chunk,) = chunks(text)
    assert [(each.heading_index, each.heading) for each in chunk.sections] == [(1, "Posts")]


def test_a_line_of_introduction_is_read_with_the_first_subsection() -> None:
    text = f"# T\n\n## Methods\n\nThere is one.\n\n### run\n\n{SENTENCE * 3}\n"
    (chunk,) = chunks(text)
    assert headings([chunk]) == [["Methods", "run"]]
    assert "There is one." in chunk.embed_text


def test_a_cut_table_repeats_its_header_in_what_is_embedded() -> None:
    text = "# T\n\n|Name|Type|\n|-|-|\n" + "|a name|a type|\n" * 40
    found = chunks(text)
    assert len(found) > 3
    for chunk in found:
        assert chunk.embed_text.startswith("T\n\nName | Type\na name | a type")
        assert chunk.kind == "table"
        assert chunk.text.endswith("|a name|a type|")
    assert sum(chunk.text.count("|a name|") for chunk in found) == 40
    assert [chunk.text.count("Name") for chunk in found] == [1] + [0] * (len(found) - 1)
    for chunk in found:
        assert shown(chunk).removeprefix("# T\n\n").startswith("|Name|Type|\n|-|-|\n|a name|")


def test_a_table_row_over_the_budget_is_cut_like_a_text() -> None:
    text = f"|Name|Meaning|\n|-|-|\n|a|b|\n|c|{SENTENCE * 12}|\n|d|e|\n"
    found = chunks(text)
    assert prose_left_out(parse_page(text, "commonmark"), text, found) == ""
    assert all("Name | Meaning" in chunk.embed_text for chunk in found)


def test_cut_code_names_its_language_and_is_cut_between_definitions() -> None:
    code = "".join(f"def f{i}(x):\n    y = x + {i}\n    return y\n\n" for i in range(20))
    found = chunks(f'# T\n\n```python title="f.py"\n{code}```\n')
    assert len(found) > 3
    assert "f.py\n```python\ndef f0" in found[0].embed_text
    for chunk in found:
        assert chunk.embed_text.count("```python\n") == 1
        assert chunk.embed_text.endswith("\n```")
        assert (chunk.kind, chunk.language) == ("code", "python")
    for chunk in found[1:]:
        assert chunk.text.startswith("def ")
    opening = '```python title="f.py"\n'
    first, *middle, last = map(shown, found)
    assert first.startswith(f"# T\n\n{opening}def f0")
    assert first.endswith("\n…\n```")
    assert all(
        each.startswith(f"{opening}…\ndef ") and each.endswith("\n…\n```") for each in middle
    )
    assert last.startswith(f"{opening}…\ndef ")
    assert last.endswith("    return y\n\n```")


def test_cut_code_in_a_list_stays_in_it() -> None:
    code = "".join(f"    line {i} of it\n" for i in range(40))
    text = f"1. Do it.\n\n   ~~~sh\n{code}   ~~~\n"
    found = chunks(text)
    assert len(found) > 2
    for chunk in found[1:]:
        [block] = parse_page(shown(chunk), "commonmark").blocks
        assert block.kind == "code"
        assert block.text.startswith("…\n line ")


def test_cut_code_that_is_indented_or_on_one_line_shows_that_it_goes_on() -> None:
    indented = [*map(shown, chunks("# T\n\nText:\n\n" + "    some more code\n" * 60))]
    assert all(each.endswith("\n    …") for each in indented[:-1])
    assert all(each.startswith("    …\n    some") for each in indented[1:])
    line = [*map(shown, chunks("```json\n" + "[" + '{"a": 1}, ' * 300 + "]\n```\n"))]
    assert all(each.endswith("\n…\n```") for each in line[:-1])
    assert all(each.startswith("```json\n…\n") for each in line[1:])


def test_cut_code_between_tags_of_a_template_gets_fences() -> None:
    code = "".join(f"    step {n} of it\n" for n in range(60))
    found = chunks(f"# T\n\n{{% highlight sh %}}\n{code}{{% endhighlight %}}\n", flavour="liquid")
    assert len(found) > 2
    blocks = [block for each in found for block in parse_page(shown(each), "commonmark").blocks]
    assert {block.kind for block in blocks} == {"heading", "code"}
    pieces = [block.text for block in blocks if block.kind == "code"]
    assert "".join(each.replace("…\n", "") for each in pieces) == code
    assert all("…" in each for each in pieces)


def test_what_a_cut_table_repeats_has_no_comment() -> None:
    found = chunks("| A <!-- no --> |\n|---|\n" + "| one two three |\n" * 40)
    assert all(shown(each).startswith("| A  |\n|---|\n| one") for each in found)


def test_a_cut_definition_has_its_term() -> None:
    text = f"# T\n\n`-a`\n: Short.\n\n`-b`\n: {SENTENCE * 9}\n\n`-c`\n: {SENTENCE}\n  {SENTENCE}\n"
    found = [*map(shown, chunks(text))]
    assert len(found) > 3
    assert found[0].startswith("# T\n\n`-a`\n: Short.")
    assert any(each.startswith("`-b`\n: …\nThe quick") for each in found)
    for each in found:
        for sentence in split_markdown(each):
            assert sentence.label.startswith("`-"), each


@pytest.mark.parametrize(
    ("flavour", "text", "expected"),
    [
        (
            "commonmark",
            "One.\n\n<!-- no -->\n\nTwo <!-- no -->`<!-- yes -->`.",
            "One.\n\nTwo `<!-- yes -->`.",
        ),
        ("commonmark", "- One.\n- <!-- no -->\n\n  Two.", "- One.\n- \n\n  Two."),
        ("commonmark", "<p>One<!-- no --></p>\n<style>p { }</style>", "<p>One</p>\n"),
        ("commonmark", "One <!-- open.", "One <!-- open."),
        (
            "commonmark",
            "7. One.\n7. Two.\n\n   1. Three.\n   1. Four.",
            "7. One.\n8. Two.\n\n   1. Three.\n   2. Four.",
        ),
        (
            "mdx",
            "import A from 'a'\n\nOne {/* no */}.\n\n{/* no */}\n\n<A title='T'>\n\nTwo.\n\n</A>",
            "One .\n\n<A title='T'>\n\nTwo.\n\n</A>",
        ),
        ("commonmark", "One {/* yes */}.", "One {/* yes */}."),
        ("commonmark", "One.\n<!-- no -->\n\n| A |\n|---|", "One.\n\n\n| A |\n|---|"),
        (
            "mdx",
            "One.\n\n```mdx-code-block\nimport A from 'a'\n\n<A />\n```\n\nTwo.",
            "One.\n\n\n\n<A />\n\n\nTwo.",
        ),
        (
            "myst",
            "(target)=\n# T\n\n% no\n\nOne.\n\n```{toctree}\nno\n```\n\nTwo.",
            "One.\n\nTwo.",
        ),
        (
            "liquid",
            "{% if x %}One{% endif %} {{ y }}two.\n\n{% highlight sh %}\nrun\n{% endhighlight %}",
            "One two.\n\n\n```sh\nrun\n```",
        ),
    ],
)
def test_what_readers_do_not_see_is_not_shown(flavour: Flavour, text: str, expected: str) -> None:
    found = chunks(text, flavour=flavour)
    assert "\n\n".join(map(shown, found)) == expected
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in found)


def test_code_on_one_long_line_is_cut_all_the_same() -> None:
    text = "```json\n" + "[" + '{"a": 1}, ' * 300 + "]\n```\n"
    found = chunks(text)
    assert len(found) > 10
    assert prose_left_out(parse_page(text, "commonmark"), text, found) == ""


@pytest.mark.parametrize("prefix", ["", "> ", "    "])
def test_code_in_a_quote_or_a_list_is_cut_by_its_own_lines(prefix: str) -> None:
    lines = ["```py", *[f"value_{i} = {i}" for i in range(40)], "```"]
    text = ("1.  List\n\n" if prefix.isspace() else "") + "\n".join(prefix + li for li in lines)
    found = chunks(text)
    assert len(found) > 2
    embedded = "\n".join(chunk.embed_text for chunk in found)
    assert [int(n) for n in re.findall(r"(?m)^\s*value_(\d+)", embedded)] == list(range(40))


def test_a_list_is_cut_between_items() -> None:
    item = "- " + SENTENCE.strip() + "\n  - below\n"
    found = chunks(f"# T\n\n{item * 12}")
    assert len(found) > 2
    for chunk in found:
        assert chunk.text.removeprefix("# T\n\n").startswith("- The quick")
        assert chunk.text.endswith("  - below")


def test_what_introduces_a_block_stays_with_it() -> None:
    filler = SENTENCE.strip()
    text = f"# T\n\n{filler}\n\n{filler}\n\nDo this now:\n\n```sh\n" + "run it now\n" * 9 + "```\n"
    _, second = chunks(text, budget=50)
    assert second.text.startswith("Do this now:")


@pytest.mark.parametrize(
    "sentence",
    [
        "It works, e.g. with `a. B` or v1.2. ",
        "このファイルは設定を読み込みます。",
        "यह फ़ाइल सेटिंग पढ़ती है। ",
        "هل يقرأ هذا الملف الإعدادات؟ ",
        "See [the page. It is long](http://x.y/z). ",
    ],
)
def test_long_paragraphs_are_cut_between_sentences(sentence: str) -> None:
    text = (sentence * 40).strip()
    page = parse_page(text, "commonmark")
    found = chunk_page(Document("p.md", text, ""), page, budget=90, count_tokens=estimate_tokens)
    assert len(found) > 2
    for chunk in found:
        assert chunk.text.startswith(sentence[:8])
        assert chunk.text.endswith(sentence.strip()[-2:])
    sizes = [len(chunk.text) for chunk in found]
    assert min(sizes) > max(sizes) / 2  # no tiny last chunk


def test_the_last_chunk_of_a_section_is_no_crumb() -> None:
    paragraph = "Eighteen words there are in this one, " * 2 + "all counted."
    found = chunks("\n\n".join(["# T", *[paragraph] * 10]), budget=64)
    sizes = [chunk.text.count("all counted") for chunk in found]
    assert sum(sizes) == 10
    assert max(sizes) - min(sizes) <= 1


def test_an_unbroken_text_is_cut_but_not_inside_a_letter_or_an_emoji() -> None:
    cluster = "नि"
    text = cluster * 300 + "👩‍🚀" * 100
    page = parse_page(text, "commonmark")
    found = chunk_page(Document("p.md", text, ""), page, budget=100, count_tokens=estimate_tokens)
    assert "".join(chunk.text for chunk in found) == text
    assert all(chunk.text[0] in "न👩" for chunk in found)


def test_imports_tags_and_addresses_are_not_embedded_and_labels_are() -> None:
    text = (
        "---\ntitle: Tabs\n---\nimport Tabs from '@theme/Tabs';\n\nexport const a = 1;\n\n"
        '<Tabs>\n<TabItem value="u" label="Unix">\n\nRun [it](https://x.y) ![shell](i.png).\n\n'
        "</TabItem>\n</Tabs>\n\n{/* hidden */}\n"
    )
    (chunk,) = chunks(text, flavour="mdx")
    assert chunk.embed_text == "Tabs\n\nUnix\n\nRun it shell."
    assert chunk.text.startswith("<TabItem")
    assert chunk.text.endswith("</Tabs>")


def test_a_tag_larger_than_the_budget_is_embedded_as_its_label() -> None:
    data = ", ".join(f"value{i}" for i in range(200))
    text = f'# T\n\n<Chart label="Sales" data={{[{data}]}} />\n\n{SENTENCE}\n'
    found = chunks(text, flavour="mdx")
    assert "Sales" in found[0].embed_text
    assert "value" not in "".join(chunk.embed_text for chunk in found)
    assert found[-1].embed_text.endswith(SENTENCE.strip())
    assert all(words(chunk.text) <= 60 for chunk in found)


def test_a_heading_in_a_tab_or_a_quote_begins_a_section() -> None:
    body = SENTENCE * 3
    text = f'# T\n\n=== "Unix"\n\n    ## Shell\n\n    {body}\n\n> ## Quoted\n> {body}\n'
    assert headings(chunks(text))[-2:] == [["T", "Shell"], ["Quoted"]]


def test_what_a_block_includes_is_embedded_and_the_text_stays_the_pages() -> None:
    text = "# T\n\n{{#include x.md}}\n\nAfter.\n"
    page = parse_page(text, "commonmark")

    def include(block: Block) -> str | None:
        return SENTENCE * 12 if "include" in text[block.start : block.end] else None

    found = chunk_page(
        Document("p.md", text, ""), page, budget=60, count_tokens=words, includes=include
    )
    assert len(found) > 2
    assert all("quick brown" in chunk.embed_text for chunk in found[:-1])
    assert all("include" not in chunk.embed_text for chunk in found)
    assert {chunk.text for chunk in found[:-1]} <= {"# T\n\n{{#include x.md}}", "{{#include x.md}}"}
    assert len({chunk.chunk_id for chunk in found}) == len(found)
    assert all(chunk.token_count <= 60 for chunk in found)


def test_an_unchanged_chunk_keeps_its_id_when_text_above_it_changes() -> None:
    rest = f"## Same\n\n{SENTENCE * 3}\n"
    before = chunks(f"# T\n\n{SENTENCE * 3}\n\n{rest}")
    after = chunks(f"# T\n\nNew. {SENTENCE * 3}\n\n{rest}")
    assert before[0].chunk_id != after[0].chunk_id
    assert before[1].chunk_id == after[1].chunk_id
    assert before[1].start != after[1].start


def test_equal_chunks_have_different_ids_in_one_page_and_in_two() -> None:
    text = "".join(f"# T\n\n## A\n\n{SENTENCE * 4}\n\n" for _ in range(3))
    ids = [chunk.chunk_id for path in ("a.md", "b.md") for chunk in chunks(text, path=path)]
    assert len(set(ids)) == len(ids) > 4


def test_a_long_heading_path_leaves_room_for_the_text() -> None:
    text = "".join(f"{'#' * n} {'word ' * 50}{n}\n\n" for n in range(1, 7)) + SENTENCE * 4
    for chunk in chunks(text, budget=120):
        assert words(chunk.embed_text.split("\n\n")[0]) <= 40


def test_large_pages_without_headings() -> None:
    text = "\n".join(f"#include <file_{i}.h> // a comment" for i in range(2000))
    found = chunks(text, budget=200)
    assert prose_left_out(parse_page(text, "commonmark"), text, found) == ""
    assert all(chunk.text.startswith("#include") for chunk in found)


def test_a_budget_too_small_to_hold_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="at least"):
        chunks("text", budget=5)


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("intro.md", "Intro"),
        ("01-getting_started.mdx", "Getting started"),
        ("2021-11-foo.md", "2021 11 foo"),
        ("part-1/chapter-2/index.md", "Chapter 2"),
        ("README.md", "README"),
        ("42.md", "42"),
        ("言語.md", "言語"),
    ],
)
def test_a_page_without_a_title_is_named_after_its_file(path: str, title: str) -> None:
    assert _title_from_path(path) == title


@pytest.mark.parametrize(
    "text",
    [
        "# a\n" * 800 + "b",
        "# " + "a" * 8_000 + "\n\n" + "## b\n\nA sentence of a few words.\n\n" * 40,
        "```" + "a" * 8_000 + "\n" + "b\n" * 1_000 + "```\n",
        "~~~\n" + "`" * 8_000 + "\n~~~\n",
        "a|" * 300 + "\n" + "-|" * 300 + "\n" + "b\n" * 800,
        "# " + "a " * 50_000 + "\n\nb",
    ],
)
def test_hostile_pages_give_chunks_of_a_size_in_proportion(text: str) -> None:
    started = time.process_time()
    found = chunks(text, 400)
    assert time.process_time() - started < 0.3
    assert sum(len(c.embed_text) + len("".join(c.heading_path)) for c in found) < 12 * len(text)
