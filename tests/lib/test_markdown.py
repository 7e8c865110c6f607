import datetime
import time
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.markdown import parse_page, plain_text
from lib.markdown_page import Block, Flavour, Page, apply_edits, edits_for_readers, render
from tests.pages import FLAVOURS, texts


def walk(blocks: Iterable[Block]) -> Iterable[Block]:
    for block in blocks:
        yield block
        yield from walk(block.children)


def headings(text: str, flavour: Flavour = "commonmark") -> list[tuple[int, str]]:
    return [(heading.level, heading.text) for heading in parse_page(text, flavour).headings]


def kinds(text: str, flavour: Flavour) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in parse_page(text, flavour).blocks]


def shown(text: str, flavour: Flavour) -> str:
    return "\n".join(filter(None, map(render, parse_page(text, flavour).blocks)))


@settings(max_examples=300, deadline=None)
@given(texts, st.sampled_from(FLAVOURS))
def test_any_text_is_read_and_blocks_lie_in_order_inside_their_parents(
    text: str, flavour: Flavour
) -> None:
    page = parse_page(text, flavour)

    def check(blocks: tuple[Block, ...], start: int, end: int) -> None:
        at = start
        for block in blocks:
            assert at <= block.start <= block.end <= end
            assert block.start == 0 or text[block.start - 1] in "\r\n\ufeff"
            check(block.children, block.start, block.end)
            at = block.end

    check(page.blocks, 0, len(text))
    assert page == parse_page(text, flavour)


@settings(max_examples=200, deadline=None)
@given(texts, st.sampled_from(FLAVOURS))
def test_every_heading_is_one_block_that_points_at_its_lines(text: str, flavour: Flavour) -> None:
    page = parse_page(text, flavour)
    found = [block for block in walk(page.blocks) if block.kind == "heading"]
    assert [block.heading for block in found] == list(range(len(page.headings)))
    for block, heading in zip(found, page.headings, strict=True):
        assert (block.start, block.end) == (heading.start, heading.end)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_offsets_count_the_characters_of_the_file(newline: str, mark: str) -> None:
    lines = ["---", "title: T", "---", "", "# 👩‍🚀 One\x0c\u2028", "", "text \0", "", "## Two", ""]
    text = mark + newline.join(lines)
    page = parse_page(text, "commonmark")
    assert page.front_matter == {"title": "T"}
    assert [text[h.start : h.end] for h in page.headings] == [lines[4], lines[8]]
    assert [text[b.start : b.end] for b in page.blocks] == [lines[4], lines[6], lines[8]]


@pytest.mark.parametrize(
    ("line", "text", "source", "explicit"),
    [
        ("# Plain", "Plain", "Plain", None),
        ("# A `b` *c* [d](e) ![f](g) #", "A b c d f", "A `b` *c* [d](e) ![f](g)", None),
        ("## Api {#My-Id}", "Api", "Api", "My-Id"),
        ("## Api {/* #my-id */}", "Api", "Api", "my-id"),
        ("## Api \\{#my-id}", "Api", "Api", "my-id"),
        ("## Api { #my-id .wide }", "Api", "Api", "my-id"),
        ("## Api {: .wide #my-id data-x=1 }", "Api", "Api", "my-id"),
        ("## Api { data-toc-label='x' }", "Api", "Api", None),
        ("## Vec<T> &amp; a < b", "Vec<T> & a < b", "Vec<T> &amp; a < b", None),
        ("## Use <Badge text='x'/> now", "Use now", "Use <Badge text='x'/> now", None),
        ("## `{#id}`", "{#id}", "`{#id}`", None),
        ("##", "", "", None),
    ],
)
def test_headings(line: str, text: str, source: str, explicit: str | None) -> None:
    (heading,) = parse_page(line + "\n", "mdx" if "/*" in line else "commonmark").headings
    assert (heading.text, heading.source, heading.explicit_id) == (text, source, explicit)


@pytest.mark.parametrize(
    ("text", "flavour", "expected"),
    [
        ("One\n*two*\n===\n\nThree\n---\n", "commonmark", [(1, "One two"), (2, "Three")]),
        ("```\n# no\n```\n~~~py\n# no\n~~~\n", "commonmark", []),
        ("    # code\n", "commonmark", []),
        ("    # heading\n", "mdx", [(1, "heading")]),
        ("text\n    ## heading\n", "mdx", [(2, "heading")]),
        ("text\n    ## text\n", "commonmark", []),
        ("> ## quoted\n", "commonmark", [(2, "quoted")]),
        ("- # item\n", "commonmark", [(1, "item")]),
        ("#include <stdio.h>\n#no\n", "commonmark", []),
        ("!!! note\n\n    ## In\n\n    ```\n    # no\n    ```\n", "commonmark", [(2, "In")]),
        ('=== "Tab"\n\n    ### In\n\n## Out\n', "commonmark", [(3, "In"), (2, "Out")]),
        ("::: tip\n## In\n:::\n", "commonmark", [(2, "In")]),
        ("<Tabs>\n<TabItem>\n\n## In\n\n</TabItem>\n</Tabs>\n", "mdx", [(2, "In")]),
        ("```{note}\n## In\n```\n", "myst", [(2, "In")]),
        ("export const a = `\n\n# no\n\n`;\n\n# yes\n", "mdx", [(1, "yes")]),
        ("{/*\n\n# no\n\n*/}\n\n# yes\n", "mdx", [(1, "yes")]),
        ("<!--\n\n# no\n\n-->\n\n# yes\n", "mdx", [(1, "yes")]),
        ("```mdx-code-block\n# In\n```\n", "mdx", [(1, "In")]),
        ("---\ntitle: a\n# no\n---\n# yes\n", "commonmark", [(1, "yes")]),
    ],
)
def test_what_is_a_heading(text: str, flavour: Flavour, expected: list[tuple[int, str]]) -> None:
    assert headings(text, flavour) == expected


MDX = """\
import Tabs from '@theme/Tabs';
import Note, {x} from './_note.mdx';

export const Demo = () => {

  return <p>don't show</p>;
};

Prose with Vec<T>, a < b, <b>bold</b>{/* hidden */} and <Link to="/x">a link</Link>.

<Tabs values={[{label: 'Mac', value: 'm'}]}>
  <TabItem value="win" label="Windows">

    Windows text, ![a picture](x.png).

  </TabItem>
</Tabs>

:::tip[My *title*]
Body
:::

{/* a comment
   over lines */}

<Note
  title="Beware"
  on={() => {
    return 1
  }}
/>
"""


def test_mdx_is_unwrapped_and_what_a_reader_sees_stays() -> None:
    page = parse_page(MDX, "mdx")
    assert page.imports == {"Tabs": "@theme/Tabs", "Note": "./_note.mdx"}
    assert shown(MDX, "mdx").split("\n") == [
        "Prose with Vec<T>, a < b, bold and a link.",
        "Mac",
        "Windows",
        "Windows text, a picture.",
        "My title",
        "Body",
        "Beware",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import is a word that prose begins with.", "import is a word that prose begins with."),
        ("export your data first.", "export your data first."),
        ("Set {name} and {'a string'}.", "Set {name} and a string."),
        ("Total: {items.map((i) => i.n)}.", "Total: ."),
        ("An open { brace", "An open { brace"),
        ("if a <b and c> d", "if a <b and c> d"),
        ("HashMap<String, Vec<u8>>", "HashMap<String, Vec<u8>>"),
        ("H<sub>2</sub>O<br/>x", "H2O\nx"),
    ],
)
def test_prose_that_looks_like_mdx(text: str, expected: str) -> None:
    assert shown(text, "mdx") == expected


@pytest.mark.parametrize(
    ("text", "flavour", "expected"),
    [
        ('!!! warning "Mind *this*"\n    Body\n', "commonmark", "Mind this\nBody"),
        ("??? note\n\n    Body\n", "commonmark", "Note\nBody"),
        ('=== "Unix"\n\n    ```sh\n    ls\n    ```\n', "commonmark", "Unix\n```sh\nls\n```"),
        ("::: details Click me {open}\nBody\n:::\n", "commonmark", "Click me\nBody"),
        (':::image alt-text="A chart." source="x.png":::\n', "commonmark", "A chart."),
        ("text :::\n\n::: \n", "commonmark", "text :::"),
        ("```{warning} Careful\n:class: x\n\nBody\n```\n", "myst", "Careful\nBody"),
        ("```{code-block} python\n:linenos:\nx = 1\n```\n", "myst", "```python\nx = 1\n```"),
        ("(target)=\n% comment\nSee {ref}`there <x>`.\n", "myst", "See there."),
        ('```{figure} x.png\n---\nname: f\nalt: "A b"\n---\nC\n```\n', "myst", "A b\nC"),
        (
            "```{code} py\n---\ncaption: a.py\n---\n# x\n```\n",
            "myst",
            "a.py\n```py\n# x\n```",
        ),
        ("```{only} html or epub\na\n```\n\n```{only} html and x\nb\n```\n", "myst", "a"),
        ("```{note}\n---\nb\n```\n", "myst", "Note\nb"),
        ("{py:func}`the run <a.b>`, {doc}`<x>`, {kbd}`a <b>`", "myst", "the run, <x>, a <b>"),
        ("Term\n:   Meaning\n\n    More\n", "commonmark", "Term\n- Meaning\n  More"),
        ("Text[^1]\n\n[^1]: The note.\n", "commonmark", "Text[^1]\nThe note."),
        ("$$\na + b\n$$\n", "commonmark", "$$\na + b\n$$"),
        ("It costs $$ more.\n", "commonmark", "It costs $$ more."),
        ("- a\n- b\n\n  c\n  - d\n", "commonmark", "- a\n- b\n  c\n  - d"),
        ("|a|`b`|\n|-|-|\n|[c](d)|e|\n", "commonmark", "a | b\nc | e"),
        ("<div>\n<p>Hi <b>you</b> &amp; me</p>\n</div>\n", "commonmark", "Hi you & me"),
        ("<script setup>\nconst a = 1\n</script>\n\ntext\n", "commonmark", "text"),
        ("a <!-- b --> c\n\n<!-- d\n\ne -->\n", "commonmark", "a  c"),
        ("[text][r] and <https://x.y>\n\n[r]: https://z\n", "commonmark", "text and https://x.y"),
        ('```ts title="a.ts" {1,3}\nx\n```\n', "mdx", "a.ts\n```ts\nx\n```"),
        ("```js{4} [config.js]\nx\n```\n", "commonmark", "config.js\n```js\nx\n```"),
        ('``` title="a b"\nx\n```\n', "commonmark", "a b\n```\nx\n```"),
        ("[go](x){ .md-button }\n", "commonmark", "go"),
    ],
)
def test_what_a_reader_sees(text: str, flavour: Flavour, expected: str) -> None:
    assert shown(text, flavour) == expected


def test_blocks_of_containers_read_flat_are_whole_lines() -> None:
    assert kinds(":::note\n\ntext\n\n:::\n", "mdx") == [
        ("marker", "Note"),
        ("paragraph", "text"),
        ("marker", ""),
    ]


def test_a_row_points_at_its_own_line() -> None:
    text = "x\n\n> |a|b|\r\n> |-|-|\r\n> |c|d|\n> |e|f|\n"
    rows = [block for block in walk(parse_page(text, "commonmark").blocks) if block.kind == "row"]
    assert [text[row.start : row.end] for row in rows] == ["> |a|b|", "> |c|d|", "> |e|f|"]


@pytest.mark.parametrize("indent", ["", "  ", "> "])
def test_code_knows_where_its_own_lines_begin(indent: str) -> None:
    text = f"p\n\n{indent}```Rust\n{indent}fn main() {{}}\n{indent}```\n"
    (code,) = (block for block in walk(parse_page(text, "commonmark").blocks) if block.body >= 0)
    assert code.language == "rust"
    assert code.text == "fn main() {}\n"
    assert text[code.body :].startswith(f"{indent}fn main")


@pytest.mark.parametrize("flavour", ["python", "liquid", "jinja"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<div markdown="1">\nA *b*.\n</div>\n```sh\n## C\n```\n\n## D\n', ["D"]),
        ("<div>\n\n## A\n\n<div>b</div>\n</div>\n## C\n", ["C"]),
        ("<details markdown>\n<summary>A</summary>\n\n## B\n\n</details>\n## C\n", ["B", "C"]),
        ("<div>\n## A\n\n## B\n", ["B"]),
        ("<hr>\n## A\n", ["A"]),
        ("<div>\n\n```\n## A\n```\n</div>\n## B\n", ["B"]),
        ('<a name="x"></a>\n## A\n', ["A"]),
        ("- a\n\n  <div>\n- b\n</div>\n\n## A\n", ["A"]),
        ("<pre>\n\n## A\n</pre>\n\n## B\n", ["B"]),
    ],
)
def test_html_ends_at_its_closing_tag_in_kramdown_and_python_markdown(
    text: str, expected: list[str], flavour: Flavour
) -> None:
    assert [heading for _, heading in headings(text, flavour)] == expected


def test_markdown_after_html_is_shown_as_markdown() -> None:
    text = "<div>\nA.\n</div>\n```sh\nb\n```\n\nC.\n"
    edits = edits_for_readers(text, parse_page(text, "python"))
    kinds = [block.kind for block in parse_page(apply_edits(text, edits), "commonmark").blocks]
    assert kinds == ["html", "code", "paragraph"]


def test_a_directive_of_a_preprocessor_is_no_text() -> None:
    assert kinds("# A\n\n{{%segment outline}}\n{{#quiz ../a.toml}}\n", "commonmark")[1:] == [
        ("marker", "")
    ]
    assert shown("\\{{#include a.rs}}\n\nUse {{#title B}}.\n", "commonmark") == (
        "{{#include a.rs}}\nUse {{#title B}}."
    )


def test_a_term_is_read_once() -> None:
    text = "First\n: Def one\n\n`Second`\n: Def two\n\n    more\n: Def three\n"
    assert shown(text, "commonmark") == ("First\n- Def one\nSecond\n- Def two\n  more\n- Def three")


def test_link_definitions_of_the_page_hold_for_a_piece_of_it() -> None:
    page: Page = parse_page("[a][b] c\n\n[b]: https://x\n", "commonmark")
    assert plain_text("[a][b]", page) == "a"


HOSTILE: dict[str, Callable[[int], str]] = {
    "blank heading": lambda n: "# a" + " " * n + "b",
    "braced heading": lambda n: "# a {" + " " * n + "b",
    "attributes": lambda n: "# a {" + ".a " * (n // 3) + "b",
    "fence info": lambda n: "```" + "[" * n + "\na\n```\n",
    "fence of marks": lambda n: "~~~\n" + "`" * n + "\n~~~\n",
    "wide table": lambda n: "a|" * (n // 4) + "\n" + "-|" * (n // 4) + "\n" + "a\n" * (n // 4),
    "table": lambda n: "a|b\n-|-\n" + "|" * n,
    "lazy quote": lambda n: ">" * 50 + "a\n" + "b\n" * (n // 8),
    "lazy list": lambda n: "- > " * 20 + "a\n" + "b\n" * (n // 8),
    "admonition": lambda n: "!!! a" + " " * n + '"',
    "container": lambda n: "::: a " + "a" * n,
    "comments in braces": lambda n: "{" + "/* a */ " * (n // 8) + "x}",
    "open comments": lambda n: "{/*" * (n // 3),
    "escaped strings": lambda n: "{" + '\\"' * (n // 2),
    "import": lambda n: "import a" + " " * n + "x",
    "roles": lambda n: "{a}`` " * (n // 6),
    "soft break": lambda n: "a\n b" + " " * n + "c",
    "attribute list": lambda n: "*a* `b`" + " " * n + "{",
    "front matter": lambda n: "---\na: b\n---" + " " * n + "x",
    "import names": lambda n: "import {" * (n // 8),
    "headings": lambda n: "# a {#b}\n" * (n // 60),
    "html": lambda n: "<div>\n" + "<?" * (n // 2),
    "entity": lambda n: '<A label="&#' + "1" * n + ';"/>',
    "setext": lambda n: "a\n-\n" * (n // 30),
}
"""Pages of about `n` characters, at most, that took quadratic time or more."""


@pytest.mark.parametrize(
    "unit",
    [
        "![",
        "{\n",
        "{",
        "<a x='",
        "<a {",
        "export const a = {\n\n",
        "<!-- x\n",
        "> ",
        "*a",
        "| a\n-|\n",
        "[a]: b\n",
        "$$ a\n",
        "<?",
        "<![CDATA[",
        "```mdx-code-block\n",
        "```{note}\n",
        "[^a]: ",
        "<div>\n\n",
        "$a ",
        "a\n: b\n",
        "- ",
        "`a``",
        "&#",
        "{a}`",
    ],
)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_hostile_pages_take_linear_time(unit: str, flavour: Flavour) -> None:
    """Regression: each of these once took quadratic time, minutes here."""
    started = time.process_time()
    parse_page(unit * (3_000 // len(unit)), flavour)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_parts_of_a_page_take_linear_time(name: str) -> None:
    """Regression: at this size each took from a second to years."""
    text = HOSTILE[name](8_000)
    flavour: Flavour = "mdx" if "{" in text or "import" in text else "commonmark"
    started = time.process_time()
    parse_page(text, flavour)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("text", "limit", "word"),
    [
        (">" * 100 + " last", "levels deep", "last"),
        ("- " * 100 + "last", "levels deep", "last"),
        ("*a* " * 6_000 + "last", "characters", "last"),
        ("[*a* " * 60 + "last", "open brackets", "last"),
        ("<a {" * 3_000 + "\n\nlast", "unclosed", "last"),
        ("---\ntitle: 0x" + "F" * 3_600 + "\n---\nlast", "digits", "last"),
        ("---\ntitle: " + ":".join(["59"] * 3_600) + "\n---\nlast", "digits", "last"),
        ("---\na: " + "[" * 30_000 + "\n---\nlast", "levels deep", "last"),
        ('---\n{"a": ' + "[" * 30_000 + "\n---\nlast", "levels deep", "last"),
        ("---\na: b\nc: " + "x " * 40_000 + "\n---\nlast", "characters", "last"),
        ("+++\n" + ".".join("a" * 20_000) + " = 1\n+++\nlast", "parts", "last"),
    ],
)
def test_text_beyond_a_limit_is_kept_and_the_limit_named(text: str, limit: str, word: str) -> None:
    page = parse_page(text, "mdx")
    (problem,) = page.problems
    assert limit in problem
    assert word in "\n".join(render(block) for block in page.blocks)


def test_names_repeated_in_every_chunk_are_short() -> None:
    page = parse_page("---\ntitle: " + "a " * 20_000 + "\n---\n# " + "b " * 20_000, "commonmark")
    assert len(page.title) == len(page.headings[0].text) == 1_000
    (code,) = parse_page("```" + "a" * 20_000 + "\nx\n```\n", "commonmark").blocks
    assert code.language == ""


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("---\ndate: 2024-01-02\n---\nx", {"date": datetime.date(2024, 1, 2)}),
        ("\ufeff---\r\na: b\r\n---\r\nx", {"a": "b"}),
        ('+++\ntitle = "T"\n[extra]\nn = 1\n+++\nx', {"title": "T", "extra": {"n": 1}}),
        ("---\n---\nx", {}),
        ("---\n# only a comment\n---\nx", {}),
        ("---\n1: a\n---\nx", {"1": "a"}),
        ("\n \n---\n  a: b\n  c: d\n---\nx", {"a": "b", "c": "d"}),
        ("+++\na=true\n+++\nx", {"a": True}),
        ("\n+++\n  a = 1\n+++\nx", {"a": 1}),
        ('\n\n{"a": 1}\nx', {"a": 1}),
        ('---json\n{"a": [1]}\n---\nx', {"a": [1]}),
        ('{ "title": "{", "draft": true }\n\nx', {"title": "{", "draft": True}),
        ('\ufeff{\r\n  "a": {"b": 1}\r\n}\r\nx', {"a": {"b": 1}}),
    ],
)
def test_front_matter(text: str, values: dict[str, object]) -> None:
    page = parse_page(text, "commonmark")
    assert page.front_matter == values
    assert page.problems == ()
    assert [text[block.start : block.end] for block in page.blocks] == ["x"]


@pytest.mark.parametrize(
    ("front", "word"),
    [
        ("---\ntitle: a: b\n---\n", "line 2"),
        ("---\nx: y\nd: 2024-13-45\n---\n", "cannot be read"),
        ("---\na: \x07\n---\n", "front matter"),
        ("---\na: !!python/object:os.system x\n---\n", "YAML"),
        ("---\na: " + "[" * 3000 + "\n---\n", "front matter"),
        ("---\n- a: b\n- c: d\nkey: x\n---\n", "YAML"),
        ("+++\ntitle = \n+++\n", "TOML"),
        ('{"title": "T", }\n', "JSON"),
        ("---\ntitle: T\nlong: " + "a" * 70_000 + "\n---\n", "65536"),
    ],
)
def test_broken_front_matter_is_a_problem_and_no_prose(front: str, word: str) -> None:
    page = parse_page(front + "# T\n", "commonmark")
    (problem,) = page.problems
    assert word in problem
    assert "\n" not in problem
    assert [block.kind for block in page.blocks] == ["heading"]


@pytest.mark.parametrize(
    ("text", "values", "complete"),
    [
        ("---\ntitle: Set up: it\ndraft: true # yet\n---\n", ("Set up: it", True), True),
        ("---\n# a\ntitle: {#each ...}\nx:\n- 1\n  2\n---\n", ("{#each ...}", None), True),
        ("---\ntitle: @attach\n? slug\n: b\n---\n", ("@attach", None), False),
        ("+++\ntitle='T'\ndraft=true\nx = [\n+++\n", ("T", True), True),
        ('{\n "title": "a \\" b",\n "draft": true,\n}\n', ('a \\" b', True), False),
    ],
)
def test_plain_lines_of_broken_front_matter_are_read(
    text: str, values: tuple[object, object], complete: bool
) -> None:
    page = parse_page(text + "x", "commonmark")
    front = page.front_matter
    assert (front.get("title"), front.get("draft")) == values
    assert (page.front_matter_complete, len(page.problems)) == (complete, 1)


@pytest.mark.parametrize(
    "text",
    [
        "{ a }\n\nx",
        '{"a": 1} x',
        '{"a": 1',
        "---\n\nJust a rule\n\n---\n\nand prose",
        "---\ntitle: never closed",
        "----\na: b\n----\n",
    ],
)
def test_rules_are_not_front_matter(text: str) -> None:
    page = parse_page(text, "commonmark")
    assert page.front_matter == {}
    assert page.problems == ()
    assert page.blocks[0].start == 0


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: Front\n---\n# Body\n", "Front"),
        ("---\ntitle: 2024\n---\n", "2024"),
        ("---\ntitle: [a]\n---\n# Body\n", "Body"),
        ("## Two\n\n# *One*\n", "One"),
        ("text", ""),
    ],
)
def test_title(text: str, title: str) -> None:
    assert parse_page(text, "commonmark").title == title
