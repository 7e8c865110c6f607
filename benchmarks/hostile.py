"""Measure that hostile input takes time linear in its size.

    python -m benchmarks.hostile [--size CHARACTERS] [--only TEXT] [--all]

Each pattern repeats a unit up to `--size` characters, and again up to twice as many. It fails if
the second takes more than 2.3 times as long as the first and more than 50 ms, in each of five
tries, or if a character takes more than 40 microseconds. The exit code is 1 if a pattern fails. The
table lists failures and the slowest patterns; `--all` lists every pattern.

Every parser is measured as the program calls it: a page of each site generator from the file to its
chunks, its front matter, the site's configuration, JSON of a request, a question, an answer of a
model whole and in pieces, and the check of its claims.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lib.api import decode_body
from lib.attribution import check_answer
from lib.book import Book, BookReader
from lib.citations import Citations, MarkerResolver
from lib.documents import DocumentLimits, discover
from lib.errors import InvalidRequest
from lib.ranking import Passage, parse_query
from lib.runtime import freeze_heap
from lib.search import SearchRequest
from lib.sentences import split_markdown, split_text
from lib.sites.detection import detect_site
from lib.terms import query_vector

MAX_RATIO: Final = 2.3
NOISE_SECONDS: Final = 0.05
SECONDS_PER_CHARACTER: Final = 40e-6
TRIES: Final = 5
SHOWN: Final = 15
ANSWER_SIZE: Final = 16_000
QUESTION_SIZE: Final = 500

Cut = tuple[str, str, str]
"""Text before the repeated unit, the unit, and text after it."""

SITES: Final = {
    "docusaurus": ("docusaurus.config.js", "module.exports = {title: 'x'}", "docs"),
    "mkdocs": ("mkdocs.yml", "site_name: x\nmarkdown_extensions: [pymdownx.snippets]", "docs"),
    "mdbook": ("book.toml", "[book]\ntitle = 'x'", "src"),
    "vitepress": ("docs/.vitepress/config.mts", "export default {title: 'x'}", "docs"),
    "hugo": ("hugo.toml", "title = 'x'", "content"),
    "jekyll": ("_config.yml", "title: x", "."),
    "sphinx": ("conf.py", "project = 'x'\nextensions = ['myst_parser']", "."),
}
"""The configuration of each generator and its content folder."""


def around(before: str, units: str, after: str = "") -> tuple[Cut, ...]:
    """A pattern for each unit between spaces, where `¶` is a line break and `·` a space."""
    found = (each.replace("¶", "\n").replace("·", " ") for each in units.split())
    return tuple((before, each, after) for each in found)


INLINE: Final = (
    *around("", "* _ ~ ` [ ] ( ) < > & ! $ \\ { } : @ ^ = ' \" | é 一 🙂 0 - . ,"),
    *around("", "** __ *a _a a* a_ **a* ~~ ++ == ![ ]( [a] [a]( [a](b ][ [][ [^ [[a]] `` `a"),
    *around("", "$a $$ \\( \\[ \\a <a </a <a> <a@ http://a www.a a@b &amp; &#1; &a {a {{ {%"),
    *around("", "{# {: {a} :a: :a:` {a}` ^[ @[ (( )) a·b a··¶ 0. a. .· -- \u200b e\u0301 -·"),
)
BLOCKS: Final = (
    *around("", "#·a¶ a¶===¶ *·*·*¶ 1.·a¶ -· >· ····a¶ ```¶ ~~~·a¶```¶ a¶¶ a¶ ·¶ \\¶ #"),
    *around("", "|·a¶-|¶ | |- a|b¶-|-¶ :·a¶ a¶:·b¶ $$·a¶ [a]:·b¶ [^a]:·b¶ [^a] *[a]:·b¶"),
    *around("", "!!!·a¶····b¶ ???+·a¶ :::a¶ ::::¶ :::{a}¶ ```{a}¶ {%·a·%} {{<·a·>}} {{%·a·%}}"),
    *around("", "<a>¶ <div>¶¶ <!--·a¶ <!-- <? <![CDATA[ <!A· </ <> <a·x=' <a·x=\" </a¶"),
    *around("", "import·a·from·'b'¶ export·const·a·=·{¶ {/*·a·*/}¶ {/* <A·b={ {` {' {a( {//"),
    *around("", "--8<--·'a'¶ <<<·a¶ {{#include·a}} <!--@include:·a--> ===·'a'¶ ```js·{a}¶"),
    *around("#", " ", "b"),
    *around("# a", "· # {", " b"),
    *around("# a {#", "a - ·"),
    *around("# ", "[ ` < & :a: \\"),
    *around("```", "[ { ·a=' a: ·", "\na\n```"),
    *around("<<< a", "· { # [", "x"),
    *around("--8<-- '", "· : a:", "x"),
    *around("{{#include a", ": ·", "}}"),
    *around("> " * 50 + "a\n", "b¶"),
    *around("> " * 100 + "a\n", "b¶"),
    *around("- " * 50 + "a\n", "b¶"),
    *around("a\n: b\n", "····>·c¶"),
    *around("<table>", "<tr><td>"),
    *around("<a ", "x=' x· x=a·", ">"),
    *around("{", "/*·a·*/· /**/¶ /* {", "x}"),
    *around("a|" * 625 + "\n" + "-|" * 625 + "\n", "a¶"),
    *around("|" + "a|" * 300 + "\n|" + "-|" * 300 + "\n", "|a|¶"),
)
FRONT_MATTER: Final = (
    *around("---\na: ", "[ { [a, {a:· ' \" *a· &a· !a· -· 0 1: 0x ·", "\n---\nx"),
    *around("---\n", "a:·b¶ -·a¶ ?·a¶ a:·&a·[*a]¶ <<:·*a¶ #¶ a:·|¶ ·a:¶ b:·&b·{<<:·*b}¶", "---\nx"),
    *around("---\n", "· ?· -· %a· [ a:·", "\n---\nx"),
    *around("---\na: &a {b: c}\n", "d:·{<<:·*a}¶ e:·[*a,·*a]¶", "---\nx"),
    *around("---\ntitle: 0x", "F 0", "\n---\nx"),
    *around("---\ntitle: 59", ":59 0", "\n---\nx"),
    *around("+++\n", "a. [a. [[a]]¶ a=[ a={ 0 [a]¶ ' a=1¶ a.b=1¶", "\n+++\nx"),
    *around("+++\n", "a.", "b = 1\n+++\nx"),
    *around("+++\n[", "a. 'a'.", "b]\n+++\nx"),
    *around("+++\na = ", "0 [ {a= '", "\n+++\nx"),
    *around("{", '"a":{ "a":[ [ " \\u0000 1e308, 0 · 9', "}\nx"),
)
CONFIGURATIONS: Final[tuple[tuple[str, tuple[Cut, ...]], ...]] = (
    ("mkdocs.yml", around("nav: ", "[ { [a, &a·")),
    ("mkdocs.yml", around("nav:\n", "-·a:·b.md¶ -·a·")),
    ("mkdocs.yml", around("site_name: ", "0x 59: 9 a ' !!python/name:")),
    ("mkdocs.yml", around("site_name: 0x", "F")),
    ("mkdocs.yml", around("a: &a [1]\n", "b:·[*a,·*a]¶ a:·&a·[*a,*a]¶")),
    ("mkdocs.yml", around("exclude_docs: '", "*a **/ [a ! ?")),
    ("mkdocs.yml", around("exclude_docs: |\n", "··*a*a*a*b¶ ··a/**/b¶")),
    ("mkdocs.yml", around("docs_dir: ", "a/ ../")),
    ("docusaurus.config.js", around("const a = 'a'\n", "const·a·=·a·+·a¶ const·a·=·[a,a]¶")),
    ("docusaurus.config.js", around("const a = {}\n", "const·a·=·{...a,·...a}¶ a;")),
    (
        "docusaurus.config.js",
        around("module.exports = ", "[ {a:· ( ! a?· a=>· `${ - [[ a( a. ' /*"),
    ),
    ("docusaurus.config.js", around("module.exports = {title: ", "a·+· 'a'+ `${a}`+", "'a'}")),
    ("docusaurus.config.js", around("module.exports = {presets: [", "'a', [], {},", "]}")),
    ("docusaurus.config.js", around("", "( <a> function·a()·{¶ '\\ \\ /a //¶ ;")),
    (
        "docs/.vitepress/config.mts",
        around("export default {rewrites: {'", ":a*/ (.*) :a", "':'b'}}"),
    ),
    ("docs/.vitepress/config.mts", around("export default {rewrites: {", "'*a*b':'c',", "}}")),
    ("docs/.vitepress/config.mts", around("export default {srcExclude: ['", "**/ *a {a, (", "']}")),
    ("docs/.vitepress/config.mts", around("export default {srcExclude: [", "'*a*b',", "]}")),
    ("docs/.vitepress/config.mts", around("export default {locales: {", "a:{}, root:{},", "}}")),
    ("book.toml", around("[", "a.", "b]")),
    ("book.toml", around("", "a.", "b = 1")),
    ("book.toml", around("a = ", "[ {a= 0 ' 1_")),
    ("book.toml", around("", "[[a]]¶ [a]¶ a=1¶")),
    ("hugo.toml", around("[permalinks]\na = '", ":a/ :a", "'")),
    ("hugo.toml", around("", "[[module.mounts]]¶source='a'¶target='content'¶")),
    ("_config.yml", around("permalink: ", ":a/ /a")),
    ("_config.yml", around("exclude:\n", "-·'*a*b'¶ -·'**/*a*b'¶ -·a¶")),
    ("_config.yml", around("defaults:\n", "-·{scope:·{path:·'**/*a'}}¶")),
    ("conf.py", around("a = ", "( [ - 1+ {1: not· lambda: a( a if·a·else·", "1")),
    ("conf.py", around("a", ".a (a) [a] =a")),
    ("conf.py", around("a = 'a'\n", "a=a+a¶ a=[a,a]¶ if·a:¶·b=1¶")),
    ("conf.py", around("exclude_patterns = ['", "*a **/ [a", "']")),
    ("conf.py", around("exclude_patterns = [", "'**/*a*b',", "]")),
    (".quireignore", around("", "*a **/ [a a*b*c¶ !a¶ [z-a]¶ \\ ? a/ **a**b¶ {a,", "b")),
    ("SUMMARY.md", around("", "-·[a](a.md)¶ [ ··-·[a](a.md)¶ #·a¶ [a]( ![")),
)
BODIES: Final = (
    *around("", '[ { " {"a": \\ · 1 - t'),
    *around('{"query": "a", "x": ', "[ 1e308, 9 {"),
    *around(
        '{"query": "a", "x": [', '1e308, [], {}, "a", null, -1.5e-300, 99999999999999999999,', "1]}"
    ),
    *around('{"query": "', "a \\u0061 \\ud800 \\n é 🙂 \\\\", '"}'),
    *around("{", '"a":1, "query":"a",', '"query": "a"}'),
)


@dataclass(frozen=True)
class Pattern:
    parser: str
    cut: Cut
    run: Callable[[str], object]
    size: int

    @property
    def name(self) -> str:
        before, unit, after = self.cut
        start = before if len(before) < 40 else f"{before[:30]}…"
        return f"{self.parser}: {start!r} {unit!r}* {after!r}"

    def seconds(self, size: int) -> float:
        before, unit, after = self.cut
        text = before + unit * max(1, (size - len(before) - len(after)) // len(unit)) + after
        began = time.process_time()
        self.run(text)
        return time.process_time() - began


@dataclass
class Result:
    pattern: Pattern
    once: float
    twice: float

    @property
    def failed(self) -> bool:
        slow = self.twice > SECONDS_PER_CHARACTER * 2 * self.pattern.size + NOISE_SECONDS
        return slow or self.twice > max(NOISE_SECONDS, MAX_RATIO * self.once)


def patterns(folder: Path, size: int) -> Iterator[Pattern]:
    """All patterns, for texts of `size` characters. Files are written below `folder`."""
    enclosed = [("a ", unit, " b") for _, unit, _ in INLINE]
    for name in SITES:
        read = page_reader(folder / name, name)
        for cut in (*BLOCKS, *INLINE, *enclosed):
            yield Pattern(name, cut, read, size)
    read = page_reader(folder / "front", "hugo")
    for cut in FRONT_MATTER:
        yield Pattern("front matter", cut, read, size)
    for number, (config, cuts) in enumerate(CONFIGURATIONS):
        read_site = site_reader(folder / f"site{number}", config)
        for cut in cuts:
            yield Pattern(config, cut, read_site, size)
    for cut in BODIES:
        yield Pattern("JSON", cut, decode, size)
    for cut in INLINE:
        yield Pattern("question", cut, ask, QUESTION_SIZE)
    after_claim = [("Yes [1]. ", unit, "\n\n") for _, unit, _ in INLINE]
    for cut in (*BLOCKS, *INLINE, *enclosed, *after_claim):
        yield Pattern("answer", cut, answer_whole, min(size, ANSWER_SIZE))
        yield Pattern("answer in pieces", cut, answer_in_pieces, min(size, ANSWER_SIZE))
        yield Pattern("sentences", cut, split, min(size, ANSWER_SIZE))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def page_reader(folder: Path, generator: str) -> Callable[[str], object]:
    """Read a page as an ingestion does, from its file to chunks, addresses and term weights."""
    config, settings, content = SITES[generator]
    root = folder / content
    write(folder / config, settings)
    root.mkdir(exist_ok=True)
    site = detect_site(root, site_url="https://book.example", generator=generator)

    def read(text: str) -> object:
        write(root / "page.md", text)
        return BookReader(Book(root, site, ["page.md"], DocumentLimits(), 400)).read(["page.md"])

    return read


def site_reader(folder: Path, config: str) -> Callable[[str], object]:
    """Find the site's settings, and list, address and read its pages."""
    root = folder / next((content for name, _, content in SITES.values() if name == config), ".")
    for page in (f"{'a' * 60}c.md", f"{'b/' * 8}c.md"):
        write(root / page, "# a\n\nb\n")
    if config == "SUMMARY.md":
        write(folder / "book.toml", "[book]\nsrc = '.'")

    def read(text: str) -> object:
        write(folder / config, text)
        site = detect_site(root, site_url="https://book.example")
        book = Book(root, site, discover(root).paths, DocumentLimits(), 400)
        book.site_hash()
        return BookReader(book).read(book.paths)

    return read


def decode(text: str) -> object:
    try:
        return decode_body(text.encode("utf-8", "surrogatepass"), SearchRequest)
    except InvalidRequest as error:
        return error


def ask(text: str) -> object:
    return parse_query(text), query_vector(text)


def split(text: str) -> object:
    return split_text(text), split_markdown(text)


def passage(text: str) -> Passage:
    return Passage(
        chunk_id="1",
        text=text,
        file_path="a.md",
        chapter="",
        section="",
        heading="A",
        url="https://book.example/a#a",
        start_char=0,
        end_char=len(text),
        score=0.5,
    )


def answer_whole(text: str) -> object:
    cited = passage(text[:4_000])
    resolver = MarkerResolver(Citations([cited]))
    emitted = [*resolver.feed(text), *resolver.finish()]
    return check_answer("".join(each for each in emitted if isinstance(each, str)), {1: cited})


def answer_in_pieces(text: str) -> object:
    resolver = MarkerResolver(Citations([passage("a")]))
    for character in text:
        resolver.feed(character)
    return resolver.finish()


def measure(pattern: Pattern) -> Result:
    """Time both sizes; repeat a failure, because other programs use the processor as well."""
    result = Result(pattern, pattern.seconds(pattern.size), pattern.seconds(2 * pattern.size))
    for _ in range(TRIES - 1):
        if not result.failed:
            break
        result.once = max(result.once, pattern.seconds(pattern.size))
        result.twice = min(result.twice, pattern.seconds(2 * pattern.size))
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=int, default=32_000)
    parser.add_argument("--only", default="", help="patterns whose name contains this")
    parser.add_argument("--all", action="store_true", help="list every pattern")
    given = parser.parse_args()
    results = []
    freeze_heap()  # as in the server; each pass of the garbage collector would cover all modules
    with tempfile.TemporaryDirectory() as folder:
        for each in patterns(Path(folder), given.size):
            if given.only in each.name:
                results.append(measure(each))
                if results[-1].failed:
                    print(f"failed: {each.name}", file=sys.stderr)
    failed = [each for each in results if each.failed]
    slowest = sorted(results, key=lambda each: -each.twice)
    print(f"{'once ms':>8} {'twice ms':>9} {'ratio':>6}  pattern")
    for result in slowest if given.all else [*failed, *slowest[:SHOWN]]:
        once, twice = result.once * 1e3, result.twice * 1e3
        ratio = twice / max(once, 1e-3)
        mark = "FAILED " if result.failed else ""
        print(f"{once:8.1f} {twice:9.1f} {ratio:6.2f}  {mark}{result.pattern.name}")
    print(f"{len(results)} patterns, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
