"""Whose a key is, while keys come and go."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.auth import MAX_FILE_BYTES, Keys, parse_key
from tests.clock import Clock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_named_and_bare_keys() -> None:
    keys = Keys(["ann:one", "two", "ann:three", "bob:clé", "a/b:c"])
    assert keys.name("one") == keys.name("three") == "ann"
    assert keys.name("clé") == "bob"
    assert keys.name("two") == parse_key("two").name != ""
    assert "two" not in keys.name("two")
    assert keys.name("a/b:c")  # no name has a slash
    for wrong in ("", "ann", "ann:one", "ONE", "one ", "onE", "\ud800", "ключ", "x" * 100_000):
        assert keys.name(wrong) == ""


@given(st.text(), st.lists(st.from_regex(r"[!-~]{1,9}", fullmatch=True)))
def test_a_key_is_known_exactly_when_it_is_one(given_key: str, entries: list[str]) -> None:
    valid = []
    for entry in entries:
        try:
            valid.append(parse_key(entry))
        except ValueError:
            assert entry.endswith(":")
    keys = Keys([f"{each.name}:{each.key}" for each in valid])
    assert bool(keys.name(given_key)) == (given_key in {each.key for each in valid})
    assert all(keys.name(each.key) for each in valid)


def test_no_key_is_in_a_repr() -> None:
    assert "geheim" not in repr(parse_key("ann:geheim"))


def test_the_file_is_read_again_when_it_changes(file: Path) -> None:
    file.write_text("# readers\n\nann:old\n  two  \n")
    clock = Clock()
    keys = Keys(["bob:configured"], file, clock=clock)
    assert keys.name("old") == "ann"
    assert keys.name("two")
    assert keys.name("configured") == "bob"
    assert keys.name("# readers") == ""

    file.write_text("ann:new\nann:old\n")
    clock.now += 0.9
    assert keys.name("new") == ""  # looked at once a second
    clock.now += 0.2
    assert keys.name("new") == keys.name("old") == "ann"

    beside = file.with_name("beside")
    beside.write_text("ann:new\nann:xyz\n")  # as long as the one before
    os.utime(beside, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    beside.replace(file)
    clock.now += 1
    assert keys.name("old") == ""
    assert keys.name("xyz") == "ann"

    file.write_text("")
    clock.now += 1
    assert keys.name("new") == ""
    assert keys.name("configured") == "bob"


@pytest.mark.parametrize(
    "broken",
    [
        b"ann:geheim\nbob:\n",
        b"ann:ge heim\n",
        b"geheim\xff\n",
        b"geheim\0x",
        b"x" * (MAX_FILE_BYTES + 1),
        None,
    ],
)
def test_a_broken_file_keeps_the_old_keys(
    file: Path, broken: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text("ann:old")
    clock = Clock()
    keys = Keys([], file, clock=clock)
    assert keys.name("old") == "ann"
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    for _ in range(3):
        clock.now += 1
        assert keys.name("old") == "ann"
        assert keys.name("geheim") == ""
    assert caplog.text.count("API_KEYS_FILE cannot be used") == 1
    assert "geheim" not in caplog.text
    assert str(file.parent) not in caplog.text
    file.write_text("ann:new")
    clock.now += 1
    assert keys.name("new") == "ann"
    assert keys.name("old") == ""


def test_a_file_that_comes_later(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.ERROR):
        keys = Keys([], file, clock=clock)
        assert keys.name("one") == ""
    assert "API_KEYS_FILE" in caplog.text
    file.write_text("\ufeffann:one\r\n")
    clock.now += 1
    assert keys.name("one") == "ann"
