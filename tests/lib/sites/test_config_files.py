"""Configuration files read as data, whatever their contents."""

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sites.config_files import (
    Tagged,
    glob_matches,
    merged,
    read_config,
    read_text,
)


def parsed(file: Path, text: str) -> dict[str, Any]:
    file.write_text(text)
    return read_config(file)


def test_yaml_tags_are_data(tmp_path: Path) -> None:
    config = parsed(
        tmp_path / "c.yml",
        "a: !!python/name:pymdownx.slugs.uslugify\n"
        "b: !!python/object/apply:os.system ['false']\n"
        "c: !ENV [NAME, fallback]\n"
        "d: !ENV NAME\n"
        "e: !relative {x: 1}\n"
        "date: 2024-13-45\n",
    )
    assert config == {
        "a": Tagged("name:pymdownx.slugs.uslugify", ""),
        "b": Tagged("object/apply:os.system", ["false"]),
        "c": "fallback",
        "d": None,
        "e": Tagged("relative", {"x": 1}),
        "date": "2024-13-45",
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- a\n- b",
        "a: b: c",
        "? [x]\n: 1",
        "a: *nowhere",
        "\0",
        "[" * 20_000,
        "{a: " * 20_000,
        "a: 1\n---\nb: 1",
        "%TAG ! tag:x,2000:\n---\n",
    ],
)
def test_broken_yaml_is_empty(tmp_path: Path, text: str) -> None:
    assert parsed(tmp_path / "c.yml", text) == {}


def test_yaml_bombs_stay_small(tmp_path: Path) -> None:
    started = time.process_time()
    lists = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [{'*a' + str(i - 1)}, {'*a' + str(i - 1)}]\n" for i in range(1, 60)
    )
    assert len(parsed(tmp_path / "c.yml", lists)) == 60
    merges = "b0: &b0 {x: 1}\n" + "".join(
        f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 10)}], y{i}: 1}}\n" for i in range(1, 20)
    )
    assert parsed(tmp_path / "c.yml", merges)["b19"] == {"y19": 1}
    assert time.process_time() - started < 2


def test_other_formats_when_broken(tmp_path: Path) -> None:
    assert parsed(tmp_path / "c.toml", "a = ") == {}
    assert parsed(tmp_path / "c.toml", "a = " + "[" * 5000) == {}
    assert parsed(tmp_path / "c.json", "[1]") == {}
    assert parsed(tmp_path / "c.json", "[" * 100_000) == {}
    assert parsed(tmp_path / "c.py", "a = (") == {}
    assert parsed(tmp_path / "c.py", "a = " + "(" * 5000) == {}
    assert parsed(tmp_path / "c.py", "a = '\0'") == {}


def test_python_gives_its_literals_and_nothing_else(tmp_path: Path) -> None:
    source = (
        "import os\nproject = 'x'\nextensions = ['a', 'b']\nhtml_baseurl: str = 'https://x.org'\n"
        "release = os.environ['R']\ntwice = 1\ntwice = 2\nlist_ = [1]\nlist_ += [2]\n"
        "if True:\n    hidden = 1\n"
    )
    assert parsed(tmp_path / "c.py", source) == {
        "project": "x",
        "extensions": ["a", "b"],
        "html_baseurl": "https://x.org",
    }


def test_files_that_are_no_text_read_as_empty(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    (tmp_path / "big").write_bytes(b"x" * 1_000_001)
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbfa: 1")
    assert [read_text(tmp_path / name) for name in ("latin", "big", "bom", "none", ".")] == [
        "",
        "",
        "a: 1",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**/_*.{js,md}", "_x.md", True),
        ("**/_*.{js,md}", "a/b/_x.md", True),
        ("**/_*.{js,md}", "a/x_.md", False),
        ("**/_*/**", "a/_b/c/d.md", True),
        ("**/_*/**", "a/b_/c.md", False),
        ("**/a/b", "a/a/b", True),
        ("tutorial/**/description.md", "tutorial/description.md", True),
        ("*.md", "a/b.md", False),
        ("a?[!b-d].md", "axe.md", True),
        ("a?[!b-d].md", "axc.md", False),
        ("a.md", "aXmd", False),
        ("[", "[", True),
        ("{a,b", "{a,b", True),
    ],
)
def test_globs(pattern: str, path: str, matches: bool) -> None:
    assert glob_matches((pattern,), path) is matches


def test_globs_of_many_stars_take_no_time() -> None:
    started = time.process_time()
    assert not glob_matches(("**/" * 99 + "x",), "a/" * 200)
    assert not glob_matches(("*a" * 100 + "x",), "a" * 1000)
    assert not glob_matches(("{a,b}" * 50,), "a" * 50)
    assert time.process_time() - started < 1


@given(st.text(alphabet="*?[]{}!^-,/a\\", max_size=30), st.text(alphabet="a/b", max_size=10))
def test_no_glob_raises(pattern: str, path: str) -> None:
    assert glob_matches((pattern,), path) in (True, False)


def test_merged_goes_mapping_by_mapping() -> None:
    base = {"a": {"x": 1, "y": 1}, "b": [1]}
    assert merged(base, {"a": {"y": 2}, "b": [2]}) == {"a": {"x": 1, "y": 2}, "b": [2]}
