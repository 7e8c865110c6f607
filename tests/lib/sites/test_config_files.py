"""Configuration files read as data, whatever their contents."""

import time
from pathlib import Path
from typing import Any, Literal

import pytest

from lib.sites.config_files import (
    UNKNOWN,
    UNREAD,
    DataError,
    Tagged,
    load_data,
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
        "[" * 30_000,
        "a: {b: " * 10_000,
        "- " * 30_000,
        "? " * 30_000,
        "a: 0x" + "F" * 3600,
        "a: " + "59:" * 3600 + "59",
        "a: &a [*a, *a]",
        "a: &a " + "x" * 9_000 + "\nb: [" + "*a, " * 900 + "]",
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 99)),
        "%TAG !a! tag:x:\n" * 200 + "---\n",
        "a: !!bool x",
        "a: 1\n---\nb: 1",
        "%TAG ! tag:x,2000:\n---\n",
    ],
)
def test_broken_yaml_is_empty(tmp_path: Path, text: str) -> None:
    assert parsed(tmp_path / "c.yml", text) == {}


def test_yaml_bombs_stay_small(tmp_path: Path) -> None:
    lists = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [{'*a' + str(i - 1)}, {'*a' + str(i - 1)}]\n" for i in range(1, 40)
    )
    assert parsed(tmp_path / "c.yml", lists) == {}
    merges = "b0: &b0 {x: 1}\n" + "".join(
        f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 10)}], y{i}: 1}}\n" for i in range(1, 20)
    )
    assert parsed(tmp_path / "c.yml", merges)["b19"] == {"y19": 1}
    with pytest.raises(DataError, match="merge keys"):
        load_data(merges, "YAML")


@pytest.mark.parametrize(
    ("syntax", "text", "message"),
    [
        ("YAML", "a:\n  b: [", "not valid YAML in line 3"),
        ("YAML", "a: &a {x: 1}\nb: {<<: [" + "*a, " * 21 + "]}", "merges more than"),
        ("YAML", "a: 1" + "0" * 100 + ".5", "digits"),
        ("TOML", ".".join("a" * 20_000) + " = 1", "parts"),
        ("TOML", "[" + " . ".join(['"a\\".b"'] * 20_000) + "]", "parts"),
        ("TOML", 'x = ["""a\n"""", {' + ".".join("a" * 20_000) + ' = 1}] # "', "parts"),
        ("TOML", "a = 0x" + "F" * 30_000, "digits"),
        ("TOML", "a = " + "[" * 30_000, "not valid TOML"),
        ("TOML", '"""' + '\\"""' * 20_000, "not valid TOML"),
        ("TOML", "a = " + " " * 60_000 + "x", "not valid TOML"),
        ("JSON", "[" * 30_000, "not valid JSON"),
        ("JSON", "[" * 60 + "]" * 60, "levels"),
        ("JSON", "[" + "9" * 4_000 + "]", "digits"),
        ("JSON", " " * 1_000_001, "characters"),
    ],
)
def test_data_beyond_a_limit_is_refused(
    syntax: Literal["YAML", "TOML", "JSON"], text: str, message: str
) -> None:
    started = time.process_time()
    with pytest.raises(DataError, match=message) as caught:
        load_data(text, syntax)
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < 0.2


def test_data_within_the_limits() -> None:
    toml = 'a = "' + "x.y." * 1000 + '" # ' + "b." * 1000 + "\n[c.d.e]\nf.g = 1.5\n"
    assert load_data(toml, "TOML")["c"] == {"d": {"e": {"f": {"g": 1.5}}}}
    merged_keys = load_data("a: &a {x: 1, y: 1}\nb: {<<: *a, y: 2}", "YAML")
    assert merged_keys["b"] == {"x": 1, "y": 2}
    # an integer that would collide with others as a key is text
    assert load_data("a: 99999999999999999999", "YAML") == {"a": "99999999999999999999"}
    assert load_data("[99999999999999999999, 1]", "JSON") == ["99999999999999999999", 1]


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
        "if True:\n    hidden = 1\none = 1\nif one:\n    one = 2\n"
    )
    assert parsed(tmp_path / "c.py", source) == {
        "project": "x",
        "extensions": ["a", "b"],
        "html_baseurl": "https://x.org",
        **dict.fromkeys(["release", "twice", "list_", "hidden", "one"], UNKNOWN),
    }
    assert parsed(tmp_path / "c.py", "a = 1\nfrom b import *\nc = 2") == {
        "a": UNKNOWN,
        "c": 2,
        UNREAD: UNKNOWN,
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
