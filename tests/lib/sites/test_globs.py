"""Globs and .gitignore rules: what they match, and in linear time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.sites.globs import fits, gitignore, glob_matches


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


def test_a_glob_may_match_a_folder_above() -> None:
    assert glob_matches(("drafts", "a/*"), "drafts/x.md", below=True)
    assert not glob_matches(("drafts", "a/*"), "drafts.md", below=True)


@pytest.mark.parametrize(
    ("rules", "path", "excluded"),  # as `git check-ignore` answers
    [
        ("a.md", "x/a.md", True),
        ("/a.md", "x/a.md", False),
        ("x/a.md", "y/x/a.md", False),
        ("drafts/", "x/drafts/", True),
        ("drafts/", "x/drafts", False),
        ("drafts/", "x/drafts/a.md", True),
        ("*.md\n!keep.md", "x/keep.md", False),
        ("!keep.md\n*.md", "keep.md", True),
        ("*.md\n!x/", "x/a.md", True),
        ("x/*\n!x/a.md", "x/a.md", False),
        ("a/**/b", "a/b", True),
        ("a/**", "a/", False),
        ("a/**", "a/x", True),
        ("**/b/*", "a/b/c/d", True),
        ("a**b", "a/b", False),
        ("a**b", "axxb", True),
        ("[!a-c]x", "dx", True),
        ("[]a]", "]", True),
        ("\\#a", "#a", True),
        ("# a", "# a", False),
        ("a  ", "a", True),
        ("a\\ ", "a ", True),
        ("\\*", "a", False),
        ("[", "[", True),
        ("[z-a]", "z", False),
    ],
)
def test_rules_of_gitignore(rules: str, path: str, excluded: bool) -> None:
    assert gitignore(rules).matches(path) is excluded


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 100 + "b", "**/" * 99 + "x", "*" * 5_000 + "x", "**/a*" * 90 + "/b",
        "?*" * 100 + "b", "*a" * 60 + "/" + "*a" * 60 + "b", "*[a-b]" * 60 + "b", "{a,b}" * 50,
        "{a," * 500 + "}" * 500, "[" * 3_000, "**/*/" * 90 + "b", "a*/**/" * 90 + "b",
        "*/" * 100 + "**/" * 100 + "*b", "*" + "a" * 120 + "b",
    ],
)  # fmt: skip
def test_no_pattern_backtracks(pattern: str) -> None:
    started = time.process_time()
    for path in ("a" * 4_000, "a/" * 2_000 + "a"):
        assert not glob_matches((pattern,), path)
        assert not gitignore(pattern).matches(path)
    assert time.process_time() - started < 0.5


def test_lists_of_patterns_have_limits() -> None:
    assert fits(["a"] * 1_000)
    for patterns in (["a"] * 1_001, ["{a,b}" * 10], ["a" * 20_001]):
        assert not fits(patterns)
        assert not glob_matches(tuple(patterns), "a")
    rules = gitignore("\n".join(f"/{number}" for number in range(1_500)))
    assert [rules.matches(path) for path in ("999", "1000")] == [True, False]
    assert rules.problems


@given(st.text(alphabet="*?[]{}!^-,/a\\", max_size=30), st.text(alphabet="a/b", max_size=10))
def test_no_glob_raises(pattern: str, path: str) -> None:
    assert glob_matches((pattern,), path) in (True, False)
    assert gitignore(pattern).matches(path) in (True, False)
