"""The contents of the published book, read from both kinds of store."""

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import lib.contents
import lib.store
import lib.store_server
from lib.contents import Contents, PublishedContents
from lib.errors import StoreUnavailable
from lib.runtime import run_to_end
from lib.store import Section, Store, StoredChunk
from tests.store_kinds import STORE_KINDS, MakeStore, open_stores
from tests.stores import chunk, make_manifest, publish, random_vectors

pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure:UserWarning")

SITE = "https://b.example"


@pytest.fixture(params=STORE_KINDS)
async def make(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeStore]:
    monkeypatch.setattr(lib.store_server, "_MANIFEST_SECONDS", 0)
    monkeypatch.setattr(lib.contents, "_PAUSE_SECONDS", 0)
    async with open_stores(request.param, tmp_path) as make_one:
        yield make_one


@pytest.fixture
async def store(make: MakeStore) -> Store:
    made = make()
    await made.open()
    return made


def section(heading: str, below: str = "", *, url: str | None = None, start: int = 0) -> Section:
    """A heading; `below` is the heading of the first level that it stands under, if any."""
    return Section(start_char=start, heading=heading, section=below or heading, url=url)


def page(path: str, *headings: str, title: str = "", **changes: Any) -> list[StoredChunk]:
    """A page with an introduction and a chunk for each heading."""
    url = changes.pop("url", f"{SITE}/{path.removesuffix('.md')}")
    start = Section(start_char=0, heading=title or path, section="", url=url)
    sections = [start]
    for number, heading in enumerate(headings, 1):
        anchor = f"{url}#{heading.lower().replace(' ', '-')}" if url else None
        sections.append(section(heading, url=anchor, start=number))
    return [
        chunk(number, path, chapter=title or path, sections=(each,), **changes)
        for number, each in enumerate(sections)
    ]


async def read(store: Store, chunks: Sequence[StoredChunk], **changes: Any) -> Contents:
    shuffled = random.Random(1).sample(list(chunks), len(chunks))
    await publish(store, shuffled, random_vectors(len(chunks)), **changes)
    contents = PublishedContents(store)
    found = await contents.get(10)
    assert found is not None
    return found


def paths(contents: Contents) -> list[str]:
    return [each.file_path for each in contents.pages]


async def test_pages_have_their_title_address_and_headings(store: Store) -> None:
    url = f"{SITE}/a"
    found = await read(
        store,
        [
            chunk(
                0,
                chapter="Tides",
                sections=(Section(start_char=0, heading="Tides", section="", url=url),),
            ),
            chunk(
                1,
                chapter="Tides",
                sections=(
                    section("Spring", url=f"{url}#spring", start=5),
                    Section(
                        start_char=9,
                        heading="Height",
                        section="Spring",
                        url=f"{url}#height",
                        above=(section("Water", "Spring", url=url, start=8),),
                    ),
                ),
            ),
            # A section that was split begins again.
            chunk(
                2,
                chapter="Tides",
                sections=(
                    section("Height", "Spring", url=f"{url}#height", start=20),
                    section("Neap", url=f"{url}#neap", start=30),
                ),
            ),
        ],
    )
    (only,) = found.pages
    assert (only.file_path, only.title, only.url) == ("a.md", "Tides", url)
    spring, neap = only.headings
    assert (spring.text, spring.url) == ("Spring", f"{url}#spring")
    below = [(each.text, each.url) for each in spring.headings]
    assert below == [("Water", url), ("Height", f"{url}#height")]
    assert (neap.text, neap.headings) == ("Neap", ())
    assert [each.text for each in only.flat] == ["Spring", "Water", "Height", "Neap"]


async def test_pages_without_an_address_have_headings_without_one(store: Store) -> None:
    found = await read(store, page("a.md", "Spring", url=None))
    assert found.pages[0].url is None
    assert [(each.text, each.url) for each in found.pages[0].headings] == [("Spring", None)]


async def test_numbers_in_paths_are_compared_as_numbers(store: Store) -> None:
    files = ["ch10.md", "ch2.md", "ch2/b.md", "ch2/a.md", "ch2/index.md", "Ch1.md", "²/x.md"]
    found = await read(store, [each for path in files for each in page(path)])
    assert paths(found) == [
        "Ch1.md", "ch2/index.md", "ch2/a.md", "ch2/b.md", "ch2.md", "ch10.md", "²/x.md"
    ]  # fmt: skip
    assert found.title == ""


@pytest.mark.parametrize(
    ("files", "index"),
    [
        ({"zero.md": "/", "about.md": "/about"}, "zero.md"),
        ({"zero.md": "/book/", "about.md": "/book/about", "b/c.md": "/book/b/c"}, "zero.md"),
        ({"about.md": "/about.html", "index.md": "/index.html"}, "index.md"),
        ({"about.md": None, "README.md": None}, "README.md"),
        ({"a/about.md": None, "a/_index.md": None, "a/b/index.md": None}, "a/_index.md"),
        ({"about.md": None, "guide/index.md": None}, ""),
        ({"style/index.md": "/style/", "a/b.md": "/a/b", "a/c.md": "/a/c"}, ""),
        ({"docs/i.md": "/docs", "docs/a.md": "/docs/a", "blog/b.md": "/blog/b"}, ""),
        ({"i.md": "/docs", "a.md": "/docs/a", "c.md": "/docs/c", "b.md": "/blog/b"}, "i.md"),
        ({"about.md": "/about.html", "tour.md": "/tour.html"}, ""),
    ],
)
async def test_the_index_page_comes_first(
    store: Store, files: dict[str, str | None], index: str
) -> None:
    chunks = [
        each
        for path, address in files.items()
        for each in page(path, title=f"Title of {path}", url=address and SITE + address)
    ]
    found = await read(store, chunks)
    assert found.title == (f"Title of {index}" if index else "")
    assert sorted(paths(found)) == sorted(files)
    if index:
        assert paths(found)[0] == index


async def test_the_site_s_own_order_comes_first(store: Store) -> None:
    files = ["index.md", "a.md", "b.md", "c.md", "d.md"]
    chunks = [each for path in files for each in page(path)]
    found = await read(store, chunks, reading_order=("d.md", "gone.md", "b.md"))
    assert paths(found) == ["index.md", "d.md", "b.md", "a.md", "c.md"]
    assert found.listed == 3
    assert (await read(store, chunks)).listed == 0


async def test_one_language_and_one_version_are_shown(store: Store) -> None:
    editions = [
        ("docs/a.md", "/docs/a", "2.0", ""),
        ("docs/old/a.md", "/docs/1.0/a", "1.0", ""),
        ("docs/next/a.md", "/docs/next/a", "current", ""),
        ("fr/docs/a.md", "/fr/docs/a", "2.0", "fr"),
        ("blog/a.md", "/blog/a", "", ""),
    ]
    found = await read(
        store,
        [
            each
            for path, address, version, locale in editions
            for each in page(path, url=SITE + address, version=version, locale=locale)
        ],
    )
    assert paths(found) == ["blog/a.md", "docs/a.md"]
    assert set(found.by_path) == {path for path, *_ in editions}


@pytest.mark.parametrize(
    ("title", "locale", "language"),
    [
        ("When does the tide turn?", "", "english"),
        ("Wann wechseln die Gezeiten und warum?", "", "german"),
        ("潮の満ち引きについて", "", "japanese"),
        ("Tides", "de-AT", "german"),
        ("Tides", "xx", "english"),
    ],
)
async def test_the_language_is_that_of_the_pages(
    store: Store, title: str, locale: str, language: str
) -> None:
    assert (await read(store, page("a.md", title=title, locale=locale))).language == language


@pytest.mark.parametrize(
    ("titles", "language"),
    [
        (["The tide clock", "Winding", "ساعة المد", "How the spring works"], "english"),
        (["ساعة المد", "كيف تدير المفتاح", "API"], "arabic"),
        (["API の使い方", "時計", "Docker", "設定"], "japanese"),
    ],
)
async def test_a_page_in_another_script_does_not_decide_the_language(
    store: Store, titles: list[str], language: str
) -> None:
    chunks = [each for n, title in enumerate(titles) for each in page(f"{n}.md", title=title)]
    assert (await read(store, chunks, languages=("english", "arabic"))).language == language


async def test_a_new_generation_is_read_again(make: MakeStore) -> None:
    """Also if another process published it."""
    reader, writer = make(), make()
    await reader.open()
    contents = PublishedContents(reader)
    assert await contents.get(10) is None
    for heading in ("Spring", "Neap"):
        manifest = await publish(writer, page("a.md", heading), random_vectors(2))
        found = await contents.get(10)
        assert found is not None
        assert found.generation == manifest.generation
        assert [each.text for each in found.pages[0].flat] == [heading]
        assert contents.of(manifest) is found
    await contents.close()


async def test_nothing_waits_for_the_contents(store: Store) -> None:
    manifest = await publish(store, page("a.md"), random_vectors(1))
    contents = PublishedContents(store)
    assert contents.of(manifest) is None  # begins to read
    found = await contents.get(10)
    assert found is not None
    assert contents.of(manifest) is found
    await contents.close()


async def test_an_index_of_another_version_has_no_contents(store: Store) -> None:
    await publish(store, page("a.md"), random_vectors(1), index_format=0)
    assert await PublishedContents(store).get(10) is None


async def test_a_failure_is_no_failure_of_the_reader(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_fields: object) -> object:
        raise StoreUnavailable("The Qdrant server cannot be reached.")

    await publish(store, page("a.md"), random_vectors(1))
    contents = PublishedContents(store)
    with monkeypatch.context() as patch:
        patch.setattr(store, "payloads", fail)
        assert await contents.get(10) is None
    assert "cannot be reached" in caplog.text
    assert await contents.get(10) is not None


async def test_the_pages_and_headings_are_bounded(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = [each for n in range(5) for each in page(f"{n}.md", "Spring", "Neap")]
    monkeypatch.setattr(lib.contents, "_MAX_PAGES", 3)
    assert len((await read(store, chunks)).pages) == 3
    monkeypatch.setattr(lib.contents, "_MAX_HEADINGS", 1)
    assert [len(each.flat) for each in (await read(store, chunks)).pages] == [1, 1, 1]
    monkeypatch.setattr(lib.contents, "_MAX_BYTES", 100)
    found = await read(store, chunks)
    assert len(found.pages) == 3
    assert [each.flat for each in found.pages] == [[], [], []]


async def test_a_heading_of_enormous_length_is_left_out(store: Store) -> None:
    found = await read(store, page("a.md", "x" * 10_000, "Spring"))
    assert [each.text for each in found.pages[0].flat] == ["Spring"]


def test_a_large_book_takes_little_memory() -> None:
    """2,000 pages with ten headings each; `_MAX_PAGES` is ten times as many."""
    tracemalloc.start()
    drafts = lib.contents._Drafts()
    for number in range(2_000):
        path = f"guide/part-{number % 50}/page-{number}.md"
        url = f"{SITE}/{path}"
        headings = [f"Section number {n} of page {number}" for n in range(10)]
        drafts.add(
            lib.contents._Outlined(
                file_path=path,
                ordinal=0,
                chapter=f"Page number {number}",
                sections=tuple(section(each, url=f"{url}#{each}") for each in headings),
                version="",
                locale="",
            )
        )
    contents = run_to_end(lib.contents._arrange(drafts.pages, make_manifest("g", 1)))
    del drafts
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(contents.pages) == 2_000
    assert len(contents.pages[0].flat) == 10
    assert kept < 5e6
    assert peak < 10e6


async def test_two_readers_share_a_reading(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await publish(store, page("a.md"), random_vectors(1))
    contents = PublishedContents(store)
    found = await asyncio.gather(*(contents.get(10) for _ in range(5)))
    assert len({id(each) for each in found}) == 1
