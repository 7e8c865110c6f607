import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.documents import DocumentError, DocumentLimits, discover, is_hidden, read_document


def write(root: Path, *paths: str, text: str = "text") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())


def test_pages_are_found_in_order_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "a/z.mdx", "a/B.MARKDOWN", "c d/é.md", "x.txt", "y.md.bak", "md")
    found = discover(tmp_path)
    assert found.paths == ("a/B.MARKDOWN", "a/z.mdx", "b.md", "c d/é.md")
    assert found.errors == ()


@pytest.mark.parametrize(
    "path",
    [
        ".hidden.md",
        ".vitepress/cache/a.md",
        "node_modules/pkg/README.md",
        "docs/node_modules/pkg/README.md",
        "_partial.mdx",
        "_partials/a.md",
        "_build/a.md",
        "venv/lib/a.md",
    ],
)
def test_what_no_site_publishes_is_left_out(tmp_path: Path, path: str) -> None:
    write(tmp_path, "a.md", path)
    assert discover(tmp_path).paths == ("a.md",)
    assert discover(tmp_path).errors == ()


@pytest.mark.parametrize("folder", ["build", "dist", "site", "public", "target", "guide/build"])
def test_a_folder_named_build_is_an_output_only_if_a_build_wrote_it(
    tmp_path: Path, folder: str
) -> None:
    write(tmp_path, f"{folder}/page.md")
    assert discover(tmp_path).paths == (f"{folder}/page.md",)
    write(tmp_path, f"{folder}/index.html")
    assert discover(tmp_path).paths == ()


def test_an_authors_ignore_file_is_followed_as_gitignore_is(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "old/a.md", "old/keep.md", "x/old/b.md", "drafts/c.md", "d.draft.md")
    write(tmp_path, ".quireignore", text="# no\n/old/*\n!/old/keep.md\ndrafts/\n*.draft.md\r\n")
    assert discover(tmp_path).paths == ("a.md", "old/keep.md", "x/old/b.md")


@pytest.mark.parametrize("content", [b"\xff\xff", b"a\0b\0c\0", b"[z-a]\n"])
def test_an_ignore_file_that_cannot_be_read_is_an_error_line(
    tmp_path: Path, content: bytes
) -> None:
    write(tmp_path, "a.md")
    (tmp_path / ".quireignore").write_bytes(content)
    found = discover(tmp_path)
    assert found.paths == ("a.md",)
    assert len(found.errors) == 1
    assert found.errors[0].startswith(".quireignore: ")


def test_links_are_refused_wherever_they_lead(tmp_path: Path) -> None:
    root = tmp_path / "docs"
    write(tmp_path, "secret.md", "docs/real.md", "elsewhere/a.md")
    (root / "link.md").symlink_to(tmp_path / "secret.md")
    (root / "inner.md").symlink_to(root / "real.md")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    (root / "gone.md").symlink_to(root / "nowhere.md")
    found = discover(root)
    assert found.paths == ("real.md",)
    assert [line.split(":")[0] for line in found.errors] == [
        "folder",
        "gone.md",
        "inner.md",
        "link.md",
        "loop",
    ]
    for path in ("link.md", "inner.md", "folder/a.md", "loop/real.md", "gone.md"):
        with pytest.raises(DocumentError, match="symbolic link"):
            read_document(root, path)


def test_a_pipe_named_like_a_page_is_neither_listed_nor_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    assert discover(tmp_path).paths == ()
    with pytest.raises(DocumentError, match="no such file"):
        read_document(tmp_path, "pipe.md")


@pytest.mark.parametrize(
    "path",
    ["../x.md", "a/../../x.md", "/etc/passwd", "", "a\0b.md", "..\\x.md", "missing.md", "folder"],
)
def test_a_path_that_is_not_a_page_below_the_root_is_refused(tmp_path: Path, path: str) -> None:
    write(tmp_path, "root/folder/a.md", "x.md")
    with pytest.raises(DocumentError) as caught:
        read_document(tmp_path / "root", path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("text", ["\ufeff# A\r\n\r\nb\rc\n", "漢字 👩‍🚀\n", "a\u2028b\x0c"])
def test_the_text_is_the_files_own_characters(tmp_path: Path, text: str) -> None:
    write(tmp_path, "a.md", text=text)
    document = read_document(tmp_path, "a.md")
    assert document.text == text
    assert document.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \r\n", "empty"),
        (b"fine\nna\xefve\n", r"not valid UTF-8 \(line 2\)"),
        ("# A".encode("utf-16"), "UTF-16"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "binary"),
        (b"x" * 101, "101 bytes; the limit is 100"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_in_one_sentence(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "a.md").write_bytes(content)
    limits = DocumentLimits(max_file_bytes=100 if len(content) <= 101 else 1000)
    with pytest.raises(DocumentError, match=words):
        read_document(tmp_path, "a.md", limits)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_document_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    root = tmp_path_factory.getbasetemp()
    (root / "any.md").write_bytes(content)
    reason = ""
    text = None
    try:
        text = read_document(root, "any.md").text
    except DocumentError as error:
        reason = str(error)
    assert (text is None) == bool(reason)
    assert "\n" not in reason
    assert text is None or text.encode() == content


def test_what_is_over_a_limit_is_left_out_and_named(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "b.md", "c.md", "d/e/f.md", text="12345")
    write(tmp_path, "empty.md", text="")
    write(tmp_path, "huge.md", text="x" * 50)

    def errors(limits: DocumentLimits) -> tuple[int, str]:
        found = discover(tmp_path, limits)
        return len(found.paths), " | ".join(found.errors)

    paths, lines = errors(DocumentLimits(max_file_bytes=40))
    assert paths == 4
    assert "empty.md: the file is empty" in lines
    assert "huge.md: the file has 50 bytes; the limit is 40 (MAX_FILE_BYTES)" in lines
    paths, lines = errors(DocumentLimits(max_files=2))
    assert paths == 2
    assert "c.md: skipped, with all files after it: more than 2 files (MAX_FILES)" in lines
    paths, lines = errors(DocumentLimits(max_total_bytes=12))
    assert paths == 2
    assert "c.md: skipped, with all files after it" in lines
    paths, lines = errors(DocumentLimits(max_depth=1))
    assert paths == 4
    assert "d/e: skipped: more than 1 levels deep" in lines


def test_a_root_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="content folder"):
        discover(tmp_path / "missing")


@pytest.mark.parametrize(
    ("front_matter", "draft"),
    [
        ({"draft": True}, True),
        ({"draft": "True"}, True),
        ({"published": False}, True),
        ({"unlisted": True}, True),
        ({"search": {"exclude": True}}, True),
        ({"search": {"boost": 2}}, False),
        ({"draft": False, "published": True}, False),
        ({"draft": 0}, False),
        ({}, False),
    ],
)
def test_drafts(front_matter: dict[str, object], draft: bool) -> None:
    assert is_hidden(front_matter) is draft
