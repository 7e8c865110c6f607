"""Completions of the last word of a query."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import lib.completion
from lib.completion import BookWords
from lib.errors import StoreUnavailable
from lib.store import Manifest
from lib.store_edge import EdgeStore
from tests.clock import Clock
from tests.stores import chunk, make_manifest, publish, random_vectors


async def completions(
    folder: Path, typed: Sequence[str], *pages: tuple[str, str]
) -> list[list[str]]:
    """The completions of each text in a book of these headings and texts."""
    store = EdgeStore(folder)
    chunks = [
        chunk(number, text=text, heading=heading) for number, (heading, text) in enumerate(pages)
    ]
    manifest = await publish(store, chunks, random_vectors(len(chunks)))
    words = BookWords(store)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lib.completion, "_WAIT_SECONDS", 30.0)  # a busy disk may take a second
            return [await words.complete(text, manifest) for text in typed]
    finally:
        await words.close()
        await store.close()


async def test_the_words_used_most_come_first(tmp_path: Path) -> None:
    pages = [("Bow", "bowl bowline"), ("H", "bowl bower"), ("H", "bowl bowline bowsprit")]
    assert await completions(tmp_path, ["b", "bo", "the bowl", "BOWS", "box"], *pages) == [
        ["b"],
        ["bow", "bowl", "bowline"],
        ["the bowl", "the bowline"],
        ["bowsprit"],
        ["box"],
    ]


async def test_a_word_of_a_heading_comes_before_others(tmp_path: Path) -> None:
    pages = [("Mast", "mat"), ("H", "mat mate"), ("H", "mat mate match")]
    assert await completions(tmp_path, ["ma"], *pages) == [["mast", "mat", "mate"]]


async def test_forms_of_one_word_count_once_and_small_words_not(tmp_path: Path) -> None:
    pages = [("H", "tide tides tided tidal"), ("H", "tide this then the thole")]
    assert await completions(tmp_path, ["ti", "th"], *pages) == [["tide", "tidal"], ["thole"]]


async def test_a_name_keeps_its_capitals_so_that_its_parts_are_found(tmp_path: Path) -> None:
    pages = [
        ("H", "useState useState() use_effect React.useMemo"),
        ("H", "useState"),
        ("H", "usest"),
    ]
    typed = ["usest", "React.usem", "use_e"]
    assert await completions(tmp_path, typed, *pages) == [
        ["usest", "useState"],
        ["React.useMemo"],
        ["use_effect"],
    ]


@pytest.mark.parametrize("text", ["tide ", "tide.", "tide?", '"tide"', "", "潮汐", "tide潮", "t"])
async def test_a_text_that_ends_otherwise_than_with_a_word_is_complete(
    tmp_path: Path, text: str
) -> None:
    assert await completions(tmp_path, [text], ("Tide", "tides tidal 潮汐")) == [[text]]


async def test_the_memory_of_words_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.completion, "_MAX_WORDS", 2)
    texts = [("", "oar"), ("", "oak"), ("", "oat"), ("", "oar " + "o" * 41)]
    assert await completions(tmp_path, ["oa", "oat", "ooo"], *texts) == [
        ["oar", "oak"],
        ["oat"],
        ["ooo"],
    ]


class _SlowStore:
    """Its words arrive when `gate` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.read = 0
        self.text = "tide"
        self.generation = "a"
        self.error: Exception | None = None

    async def manifest(self) -> Manifest:
        return make_manifest(self.generation, 1)

    async def payloads(self, fields: Sequence[str]) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        self.read += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        yield [{"text": self.text, "sections": []}]


async def complete(words: BookWords, text: str, generation: str = "a") -> list[str]:
    return await words.complete(text, make_manifest(generation, 1))


async def test_a_reader_does_not_wait_for_the_words_of_a_large_book(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lib.completion, "_WAIT_SECONDS", 0.001)
    store: Any = _SlowStore()
    words = BookWords(store)
    assert await complete(words, "ti") == ["ti"]
    assert await complete(words, "tid") == ["tid"]
    store.gate.set()
    await words._reading.get()
    assert await complete(words, "ti") == ["tide"]
    assert store.read == 1
    store.gate.clear()
    store.text, store.generation = "tidal", "b"
    assert await complete(words, "ti", "b") == ["tide"]  # of the previous index, meanwhile
    store.gate.set()
    await words._reading.get()
    assert await complete(words, "ti", "b") == ["tidal"]
    assert store.read == 2
    await words.close()


async def test_words_that_cannot_be_read_are_read_again_after_a_pause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    store: Any = _SlowStore()
    store.gate.set()
    store.error = StoreUnavailable("The server is away.")
    words = BookWords(store, clock=clock)
    for _ in range(3):
        assert await complete(words, "ti") == ["ti"]
    assert store.read == 1
    assert caplog.text.count("The server is away.") == 1
    store.error = None
    clock.now += 30
    assert await complete(words, "ti") == ["tide"]
    await words.close()
