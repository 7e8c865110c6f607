"""Hostile, damaged and unusual archives. tests/handlers/test_archive.py pushes them over HTTP."""

import gzip
import io
import random
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.archives import lock_folder, remove_leftovers, unpack
from lib.documents import DocumentLimits
from lib.errors import InvalidRequest
from lib.sites.built import looks_built

LIMITS = DocumentLimits(max_files=20, max_total_bytes=1_000_000)
FILES = {"index.md": b"# Tides\n\nHigh and low.\n", "guide/new.md": bytes(range(256)) * 600}


def header(name: bytes = b"a.md", size: int | bytes = 0, kind: bytes = b"0") -> bytes:
    """Make a header block of a tar; a size in bytes is written as it stands."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2)
    block += field.ljust(12, b"\0") + b"0" * 12 + b" " * 8 + kind
    block = block.ljust(257, b"\0") + b"ustar\x0000"
    block = block.ljust(512, b"\0")
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: bytes, data: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(data), kind) + data + bytes(-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    length += len(str(length + len(str(length))))
    return b"%d %b=%b\n" % (length, key, value)


def tar(*members: bytes, end: bytes = bytes(1024)) -> bytes:
    return gzip.compress(b"".join(members) + end, 1)


def packed(format: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=format, compresslevel=1) as archive:
        for name, data in (FILES | {"x" * 90 + "/" + "é" * 40 + ".md": b"# Long\n"}).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(files: dict[str, bytes] = FILES, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def changed(data: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    assert old in data
    return data.replace(old, new, count)


def zip64_locator(data: bytes) -> bytes:
    """Add a ZIP64 directory record that contradicts the plain one."""
    end = data.rindex(b"PK\5\6")
    record64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 1 << 40, 0)
    return data[:end] + record64 + struct.pack("<4sLQL", b"PK\6\7", 0, end, 1) + data[end:]


def duplicate(data: bytes) -> bytes:
    return changed(data, b"B.md", b"a.md")


ZIP = zipped()
STORED = zipped(method=zipfile.ZIP_STORED)
A = member(b"a.md", b"# A\n")
BAD: dict[str, bytes] = {
    "digits in a pax header": tar(member(b"", b"1" * 900_000, b"x"), A),
    "digits in a pax size": tar(member(b"", record(b"size", b"9" * 5_000), b"x"), A),
    "a negative pax size": tar(member(b"", record(b"size", b"-1"), b"x"), A),
    "a pax record that is too long": tar(member(b"", b"99 path=a\n", b"x"), A),
    "a pax record of length 0": tar(member(b"", b"0 path=a\n", b"x"), A),
    "a pax record without a line end": tar(member(b"", b"9 path=ab", b"x"), A),
    "a huge pax header": tar(header(b"", 8 << 30, b"x"), A),
    "many pax headers": tar(*[member(b"", b"7 a=\n\n\n", b"x")] * 1000),
    "a bomb of pax headers": tar(member(b"", bytes(900_000), b"x") * 2, A),
    "a path outside in a pax header": tar(member(b"", record(b"path", b"../x.md"), b"x"), A),
    "a path outside in a long name": tar(member(b"././@LongLink", b"../x.md\0", b"L"), A),
    "a huge long name": tar(member(b"././@LongLink", b"x" * 900_000, b"L"), A),
    "a sparse file": tar(header(kind=b"S")),
    "a sparse file in pax": tar(member(b"", record(b"GNU.sparse.map", b"0,1"), b"x"), A),
    "a sparse size in pax": tar(member(b"", record(b"GNU.sparse.realsize", b"9" * 5000), b"x"), A),
    "an unknown type": tar(header(kind=b"Z")),
    "a volume label": tar(header(kind=b"V"), A),
    "a device": tar(header(kind=b"3"), A),
    "a link": tar(header(kind=b"2"), A),
    "a negative size": tar(header(size=b"\xff" * 12)),
    "a negative size in octal": tar(header(size=b"-0000000001\0")),
    "a size that is too large": tar(header(size=8 << 20) + b"x"),
    "a size of 2 to the power 88": tar(header(size=b"\x80" + b"\xff" * 11)),
    "a size that is no number": tar(header(size=b"99999999999\0")),
    "a size in other digits": tar(header(size="²".encode() * 6)),
    "a wrong checksum": tar(A[:148] + b"0000001\0" + A[156:]),
    "a name with NUL in pax": tar(member(b"", record(b"path", b"a\0.md"), b"x"), A),
    "a name that is not UTF-8": tar(member(b"\xff.md", b"# A\n")),
    "a name with a line feed": tar(member(b"a\nb.md", b"# A\n")),
    "an absolute path": tar(member(b"/a.md", b"# A\n")),
    "a path below ..": tar(member(b"a/../../a.md", b"# A\n")),
    "a drive": tar(member(b"C:/a.md", b"# A\n")),
    "a drive-relative path": tar(member(b"C:a.md", b"# A\n")),
    "a share": tar(member(b"\\\\server\\a.md", b"# A\n")),
    "a name twice": tar(A, A),
    "a file that is a folder": tar(A, member(b"a.md/b.md", b"# A\n")),
    "a folder that is a file": tar(member(b"a/b.md", b"# A\n"), member(b"a", b"# A\n")),
    "the folder itself as a file": tar(member(b".", b"# A\n")),
    "too long a path": tar(member(b"", record(b"path", b"/".join([b"x" * 200] * 9)), b"x"), A),
    "too many entries": tar(*(member(b"%d.md" % n, b"") for n in range(201))),
    "too many folders": tar(*(member(b"%d/" % n + b"a/" * 30 + b"a", b"") for n in range(8))),
    "no files": tar(header(b"docs/", kind=b"5")),
    "an empty tar": tar(),
    "no end": tar(A, end=b""),
    "a cut-off file": tar(A[:-100], end=b""),
    "a cut-off stream": tar(A)[:-1],
    "a wrong gzip checksum": tar(A)[:-8] + bytes(4) + tar(A)[-4:],
    "garbage after the end": tar(A, end=bytes(1024) + A),
    "garbage after the stream": tar(A) + b"garbage",
    "another stream after the first": tar(A) + tar(A),
    "a bomb after the end": tar(A, end=bytes(5_000_000)),
    "a gzip header without end": b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 200_000,
    "gzip bytes only": b"\x1f\x8b",
    "an uncompressed tar": A + bytes(1024),
    "an encrypted zip": changed(ZIP, b"PK\1\2\x14\x03\x14\0\0\0", b"PK\1\2\x14\x03\x14\0\1\0"),
    "a zip of bzip2": zipped(method=zipfile.ZIP_BZIP2),
    "a zip of lzma": zipped(method=zipfile.ZIP_LZMA),
    "a zip of unknown compression": changed(ZIP, b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x63\0"),
    "a ZIP64 locator": zip64_locator(ZIP),
    "an empty zip": zipped({}),
    "a zip with a long path": zipped({"a/" * 5 + "x" * 1000 + ".md": b"# A\n"}),
    "a zip with a long path of folders": zipped({("x" * 200 + "/") * 25 + "a.md": b"# A\n"}),
    "a zip with a name twice": duplicate(zipped({"a.md": b"# A\n", "B.md": b"# B\n"})),
    "a zip with a line feed in a name": zipped({"a\nb.md": b"# A\n"}),
    "a zip with a NUL in a name": changed(zipped({"a@b.md": b"# A\n"}), b"a@b.md", b"a\0b.md"),
    "a zip with a wrong checksum": changed(STORED, b"High and", b"Low and "),
    "a zip that declares less": changed(STORED, b"\x17\0\0\0" * 2, b"\1\0\0\0" * 2),
    "a zip of another local name": changed(ZIP, b"index.md", b"index.mx", 1),
    "a zip with a negative offset": ZIP[:-6] + struct.pack("<LH", 1 << 31, 0),
    "a zip with garbage after it": ZIP + b"garbage",
    "a cut-off zip": ZIP[:-30],
    "the record of a zip only": ZIP[-22:],
    "PK": b"PK\5\6",
}  # fmt: skip


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def pushed(tmp_path: Path) -> Callable[[bytes], dict[str, bytes] | str]:
    """Unpack an archive. Returns its files, or the reason why it was refused."""
    (tmp_path / "content").mkdir()
    (tmp_path / "content/old.md").write_text("old")

    def push(body: bytes) -> dict[str, bytes] | str:
        (tmp_path / "archive").write_bytes(body)
        target = tmp_path / "content"
        before = target.stat().st_ino
        try:
            unpack(tmp_path / "archive", target, LIMITS)
        except InvalidRequest as error:
            assert target.stat().st_ino == before
            return error.message
        finally:
            assert left_in(tmp_path) == ["archive", "content"]
        found = [path for path in target.rglob("*") if path.is_file() and path.name != ".git"]
        return {path.relative_to(target).as_posix(): path.read_bytes() for path in found}

    return push


Push = Callable[[bytes], dict[str, bytes] | str]


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_a_bad_archive_is_refused_with_a_reason(pushed: Push, body: bytes) -> None:
    began = time.process_time()
    reason = pushed(body)
    assert isinstance(reason, str), reason
    assert reason.startswith("The ")
    assert reason.endswith(".")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_common_tar_is_unpacked(pushed: Push, format: int) -> None:
    found = pushed(packed(format))
    assert found == FILES | {"x" * 90 + "/" + "é" * 40 + ".md": b"# Long\n"}


def test_tar_as_other_programs_write_it(pushed: Push) -> None:
    members = [
        member(b"pax_global_header", record(b"comment", b"1234"), b"g"),
        header(b"./", kind=b"5"),
        header(b"docs/", size=7, kind=b"5"),  # a size without data
        member(b"", record(b"path", b"docs/long.md") + record(b"mtime", b"1.5"), b"x"),
        member(b"docs/l.md", b"long"),
        header(b"docs/old/"),  # a folder of the first tar
        member(b"./docs/a.md", b"a", b"\0"),
        header(b"b.md", size=b"\x80" + bytes(10) + b"\1") + b"b".ljust(512, b"\0"),
    ]
    expected = {"docs/long.md": b"long", "docs/a.md": b"a", "b.md": b"b"}
    assert pushed(tar(*members, end=bytes(10_240))) == expected
    assert pushed(tar(*members) + bytes(700)) == expected


def test_zip_as_other_programs_write_it(pushed: Push) -> None:
    assert pushed(ZIP) == pushed(STORED) == pushed(b"#!/bin/sh\n" + ZIP) == FILES
    out = io.BytesIO()
    with zipfile.ZipFile(Unseekable(out), "w") as archive:  # sizes follow the data
        archive.mkdir("docs")
        archive.writestr("docs/é.md", b"a")
        archive.comment = b"a comment"
    assert pushed(out.getvalue()) == {"docs/é.md": b"a"}


class Unseekable(io.RawIOBase):
    def __init__(self, out: io.BytesIO) -> None:
        self._out = out

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        return self._out.write(data)


@pytest.mark.parametrize("body", [tar(*(member(n.encode(), d) for n, d in FILES.items())), ZIP])
def test_a_damaged_archive_is_unpacked_or_refused(pushed: Push, body: bytes) -> None:
    """Bytes flipped, cut off, repeated and removed, in tar headers also below the compression."""
    chance = random.Random(7)
    plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else b""
    for turn in range(100):
        data = bytearray(plain if plain and turn % 2 else body)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(min(len(data), 600) if turn % 3 else len(data))
            if chance.random() < 0.5:
                at = len(data) - 1 - at
            match turn % 5:
                case 0:
                    del data[at : at + chance.randint(1, 600)]
                case 1:
                    data[at:at] = data[at : at + chance.randint(1, 600)]
                case _:
                    data[at % len(data)] ^= 1 << chance.randrange(8)
        pushed(zlib.compress(data, 1, 31) if plain and turn % 2 else bytes(data))


def test_only_one_push_holds_the_folder_and_leftovers_go(tmp_path: Path) -> None:
    folder = tmp_path / "index/book"
    unlock = lock_folder(folder)
    assert unlock is not None
    assert lock_folder(folder) is None
    (folder / "archive-1234").write_bytes(b"x")
    for name in ("content", "content.1234", "content.1234.old", "shards"):
        (folder / name / "guide").mkdir(parents=True)
    remove_leftovers(folder)
    assert len(left_in(folder)) == 5
    unlock()
    remove_leftovers(folder)
    assert left_in(folder) == ["content", "shards"]
    remove_leftovers(tmp_path / "missing")
    assert lock_folder(folder) is not None


PAGES = {"index.html": b"<h1>Home</h1>", "guide/a.HTM": b"<h1>A</h1>", "guide/a.md": b"# A\n"}
BUILD = PAGES | {
    "404.html": b"",
    "sitemap-0.xml": b"<urlset/>",
    ".quireignore": b"x",
    "assets/app.js": bytes(600_000),
    "img/b.png": bytes(600_000),
}


def tarred(files: dict[str, bytes], folder: str = "") -> bytes:
    return tar(*(member(f"{folder}{name}".encode(), data) for name, data in files.items()))


def unpacked(tmp_path: Path, data: bytes, **options: bool) -> set[str]:
    (tmp_path / "archive").write_bytes(data)
    unpack(tmp_path / "archive", tmp_path / "content", LIMITS, **options)
    found = (path for path in (tmp_path / "content").rglob("*") if path.is_file())
    return {path.relative_to(tmp_path / "content").as_posix() for path in found} - {".git"}


@pytest.mark.parametrize(
    "data",
    [
        tarred(BUILD | {"assets/app.js": b"", "img/b.png": bytes(900_000)}),
        tarred(BUILD | {"assets/app.js": b"", "img/b.png": bytes(900_000)}, "./build/"),
        zipped(BUILD),
        zipped({f"site/{name}": data for name, data in BUILD.items()} | {"__MACOSX/site": b"x"}),
    ],
    ids=["tar", "tar of a folder", "zip", "zip of a folder"],
)
def test_of_a_built_site_only_the_pages_are_written(tmp_path: Path, data: bytes) -> None:
    kept = {*PAGES, "404.html", "sitemap-0.xml", ".quireignore"}
    assert unpacked(tmp_path, data) == kept | {".nojekyll"}
    assert looks_built(tmp_path / "content")


@pytest.mark.parametrize(
    "files",
    [
        {
            "index.html": b"<html>",
            "a.md": b"# A\n",
            "b.md": b"# B\n",
            "404.html": b"",
            "c.md": b"# C",
        },
        {"index.html": b"---\n---\n", "404.html": b"", "_config.yml": b"", "x.png": b"x"},
        {"docs/index.md": b"# A\n", "docs/x.py": b"x = 1\n", "docs/404.html": b""},
    ],
)
def test_of_sources_everything_is_written(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert unpacked(tmp_path, zipped(files)) == {*files}


def test_of_a_build_that_is_read_as_markdown_everything_is_written(tmp_path: Path) -> None:
    files = BUILD | {"assets/app.js": b""}
    assert unpacked(tmp_path, zipped(files), whole=True) == {*files}
