"""A site is read from a real server on this machine, whose faults are scripted."""

import asyncio
import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lib.crawl
from lib.crawl import _Crawled, crawl, parse_address
from lib.crawl_copy import StoredSite, file_name
from lib.documents import DocumentLimits
from lib.errors import Conflict, InvalidRequest, QuireError, StoreUnavailable
from tests.static_site import (
    LOOPBACK,
    Asked,
    Reply,
    Resolver,
    StaticSite,
    local_network,
    page,
    redirect,
)

BOM = "\ufeff"


async def read(
    site: StaticSite,
    folder: Path,
    path: str = "/sitemap.xml",
    limits: DocumentLimits | None = None,
    **options: Any,
) -> _Crawled:
    options.setdefault("network", local_network())
    url = parse_address(site.origin + path)
    return await crawl(url, folder, limits or DocumentLimits(), **options)


def files(crawled: _Crawled) -> dict[str, str]:
    """The stored pages by file name, without the sitemap."""
    found = {
        path.relative_to(crawled.root).as_posix(): path.read_text("utf-8", "replace")
        for path in crawled.root.rglob("*")
        if path.is_file() and path.name != "sitemap.xml"
    }
    return dict(sorted(found.items()))


def journal_of(folder: Path) -> Path:
    [journal] = folder.glob("*/journal")
    return journal


def without_origin(site: StaticSite, lines: list[str]) -> list[str]:
    return [line.replace(site.origin, "") for line in lines]


async def test_pages_are_stored_at_the_paths_of_their_addresses(
    site: StaticSite, tmp_path: Path
) -> None:
    paths = ("/", "/a/b/", "/a/b", "/a/c.html", "/caf%C3%A9/", "/UP/x")
    site.list(*paths, "/a/b/?v=2", "/a/b/#part", "https://other.example/d", "/sitemap2.xml")
    for path in paths:
        site.replies[path] = page(path)
    site.replies["/sitemap2.xml"] = Reply(b"<urlset/>", content_type="text/xml")
    reported: list[tuple[int, int]] = []
    crawled = await read(site, tmp_path, report=lambda *each: reported.append(each))
    assert [*files(crawled)] == [
        "UP/x.html", "a/b.html", "a/b/index.html", "a/c.html", "café/index.html", "index.html"
    ]  # fmt: skip
    assert files(crawled)["a/b.html"].startswith(BOM + "<!doctype html><title>/a/b<")
    assert crawled.site_url == f"{site.origin}/"
    sitemap = (crawled.root / "sitemap.xml").read_text()
    assert [f"<loc>{site.origin}{path}</loc>" in sitemap for path in paths] == [True] * 6
    assert without_origin(site, [*crawled.errors]) == [
        "/sitemap.xml: 1 addresses are not of this site",
        "/sitemap2.xml: is not HTML (text/xml)",
    ]
    assert reported[0] == (0, 7)
    assert reported[-1] == (7, 7)
    agents = {request.headers["user-agent"].partition("/")[0] for request in site.requests}
    assert agents == {"Quire"}


async def test_a_second_run_asks_for_changed_pages_only(site: StaticSite, tmp_path: Path) -> None:
    def tagged(request: Asked) -> Reply:
        if request.headers.get("if-none-match") == '"1"':
            return Reply(status=304)
        return page("same", ETag='"1"')

    def dated(request: Asked) -> Reply:
        known = request.headers.get("if-modified-since") == "Sun, 29 Nov 2026 10:00:00 GMT"
        return (
            Reply(status=304) if known else page("x", Last_Modified="Sun, 29 Nov 2026 10:00:00 GMT")
        )

    site.list("/tagged", "/dated", "/old", "/gone", "/broken", "/damaged")
    site.replies |= {"/tagged": tagged, "/dated": dated, "/old": page("1"), "/gone": page("2")}
    site.replies |= {"/broken": page("3"), "/damaged": tagged, "/unlisted": page("4")}
    first = await read(site, tmp_path)
    assert len(files(first)) == 6
    (first.root / "damaged.html").write_text("cut sh")
    site.list("/tagged", "/dated", "/new", "/gone", "/broken", "/damaged")
    site.replies |= {"/new": page("new"), "/gone": Reply(status=410), "/broken": Reply(status=500)}
    second = await read(site, tmp_path)
    assert second.root == first.root
    assert {name: "<title>" in text for name, text in files(second).items()} == {
        "broken.html": True,
        "damaged.html": True,
        "dated.html": True,
        "new.html": True,
        "tagged.html": True,
    }
    assert without_origin(site, [*second.errors]) == [
        "/gone: does not exist (status 410)",
        "/broken: answers with status 500",
    ]


async def test_a_run_that_was_killed_goes_on_where_it_stopped(
    site: StaticSite, tmp_path: Path
) -> None:
    paths = [f"/{number}" for number in range(20)]
    site.list(*paths)
    reached = asyncio.Event()

    def last(_: Asked) -> Reply:
        reached.set()
        return Reply(b"x", hangs=True)

    for path in paths:
        site.replies[path] = page(path)
    site.replies["/9"] = last
    running = asyncio.create_task(read(site, tmp_path))
    async with asyncio.timeout(10):
        await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    journal = journal_of(tmp_path)
    with journal.open("ab") as file:
        file.write(b'{"type":"page","path":"/19","read_')  # cut short by the kill
    before = {json.loads(line).get("path") for line in journal.read_bytes().splitlines()[1:-1]}
    assert {"/0", "/1", "/2"} <= before
    site.requests.clear()
    site.replies["/9"] = page("/9")
    crawled = await read(site, tmp_path)
    assert site.asked() == sorted({*paths} - before)
    assert len(files(crawled)) == 20
    site.requests.clear()
    await read(site, tmp_path)  # a new run
    assert len(site.asked()) == 20


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_site_that_fails_keeps_its_copy(
    site: StaticSite, tmp_path: Path, status: int
) -> None:
    paths = [f"/{number}" for number in range(5)]
    site.list(*paths)
    site.replies |= {path: page(path) for path in paths}
    crawled = await read(site, tmp_path)
    site.replies |= {path: Reply(status=status) for path in paths[:3]}
    with pytest.raises(QuireError, match=r"3 of 5 pages cannot be read.*First, http"):
        await read(site, tmp_path)
    assert len(files(crawled)) == 5
    await read(site, tmp_path, force=True)
    assert len(files(crawled)) == (2 if status == 404 else 5)


async def test_a_run_ends_after_many_failures(site: StaticSite, tmp_path: Path) -> None:
    site.list(*(f"/{number}" for number in range(200)))
    site.replies |= {f"/{number}": Reply(status=403) for number in range(200)}
    with pytest.raises(QuireError, match=r"More than 20 pages in a row.*status 403"):
        await read(site, tmp_path)
    assert len(site.asked()) < 30


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (redirect("http://169.254.169.254/latest/meta-data/"), "redirects to another site"),
        (redirect("http://[::1]/"), "redirects to another site"),
        (redirect("http://0x7f.1/"), "redirects to another site"),
        (redirect("//2130706433/"), "redirects to another site"),
        (redirect("file:///etc/passwd"), "redirects to another site"),
        (redirect("http://user:secret@book.example/"), "redirects to another site"),
        (redirect("http://book.example:22/"), "redirects to another site"),
        (redirect("http://book.example\\@other.example/"), "redirects to an invalid address"),
        (redirect("/loop"), "redirects more than 5 times"),
        (redirect("/no/"), "redirects to an address that is disallowed by robots.txt"),
        (Reply(b"%PDF", content_type="application/pdf"), "is not HTML (application/pdf)"),
        (Reply(b"x", content_type=""), "is not HTML (application/octet-stream)"),
        (Reply(b"x", content_type="text/html\x1b[31m; a"), "is not HTML (text/html?"),
        (Reply(status=204), "answers with status 204"),
        (Reply(status=304), "answers with status 304"),
        (Reply(b"x" * 10_001), "has more than 10000 bytes"),
        (Reply(b"x" * 1_000, endless=True), "has more than 10000 bytes"),
        (Reply(b"x", cut=True), "cannot be read: the connection failed"),
        (Reply(b"x", headers={"Content-Encoding": "gzip"}), "is damaged: the end"),
        (Reply(b"xyz" * 9, headers={"Content-Encoding": "gzip"}), "is damaged: its gzip"),
        (Reply(b"x", headers={"Content-Encoding": "br"}), "is compressed in a way"),
        (page("x", X_Robots_Tag="nofollow, NoIndex"), "asks not to be indexed"),
        (page("x", X_Robots_Tag="quire: none"), "asks not to be indexed"),
    ],
)
async def test_a_page_that_is_left_out(
    site: StaticSite, tmp_path: Path, reply: Reply, problem: str
) -> None:
    site.replies["/robots.txt"] = Reply(b"User-agent: *\nDisallow: /no/")
    site.list("/", "/loop", "/also")
    site.replies |= {"/": page("home"), "/also": page("also"), "/loop": reply}
    crawled = await read(site, tmp_path, limits=DocumentLimits(max_file_bytes=2_000))
    assert [*files(crawled)] == ["also.html", "index.html"]
    [line] = without_origin(site, [*crawled.errors])
    assert line.startswith(f"/loop: {problem}")
    assert "/no/" not in site.asked()


async def test_a_page_for_another_crawler_is_stored(site: StaticSite, tmp_path: Path) -> None:
    site.list("/")
    site.replies["/"] = page("x", X_Robots_Tag="googlebot: noindex, noarchive")
    assert [*files(await read(site, tmp_path))] == ["index.html"]


async def test_redirects_within_the_site_give_the_final_address(
    site: StaticSite, tmp_path: Path
) -> None:
    www = site.origin.replace("://", "://www.")
    site.list(
        "/docs/a", "/docs/old", "/docs/older", "/docs/b/", "/docs/away", at="/docs/sitemap.xml"
    )
    site.replies |= {"/docs/a": redirect("/docs/a/"), "/docs/a/": page("a")}
    site.replies |= {"/docs/old": redirect("b/"), "/docs/b/": page("b")}
    site.replies |= {"/docs/older": redirect(f"{www}/docs/c#part"), "/docs/c": page("c")}
    site.replies |= {"/docs/away": redirect("/blog/"), "/blog/": page("blog")}
    crawled = await read(site, tmp_path, "/docs/sitemap.xml")
    assert [*files(crawled)] == ["a/index.html", "b/index.html", "c.html"]
    assert crawled.site_url == f"{site.origin}/docs/"
    sitemap = (crawled.root / "sitemap.xml").read_text()
    assert f"<loc>{site.origin}/docs/a/</loc>" in sitemap
    assert without_origin(site, [*crawled.errors]) == ["/docs/away: redirects to /blog/"]


async def test_names_that_would_be_one_file(site: StaticSite, tmp_path: Path) -> None:
    paths = (
        "/a",
        "/a.html",
        "/A",
        "/b.html",
        "/b.html/c",
        "/d/",
        "/d/index.html",
        "/e%2Ff",
        "/%FF",
    )
    odd = ("/..%2f..%2fetc/passwd", "/a%00b", "/x//y", "/" + "%41" * 300, "/%5Cwindows", "/a%0Ab")
    site.list(*paths, *odd)
    site.replies |= {path: page(path) for path in (*paths, "/A")}
    crawled = await read(site, tmp_path)
    assert [*files(crawled)] == ["a.html", "b.html", "d/index.html"]
    lines = without_origin(site, [*crawled.errors])
    assert lines[:4] == [
        "/a.html: would have the file of /a",
        "/A: would have the file of /a",
        "/b.html/c: would have the file of /b.html",
        "/d/index.html: would have the file of /d/",
    ]
    assert lines[4] == "/e%2Ff: cannot be the name of a file (and 7 others)"
    assert site.asked() == sorted(["/a", "/b.html", "/d/"])


async def test_the_encoding_in_the_header_is_kept(site: StaticSite, tmp_path: Path) -> None:
    site.list("/latin", "/meta", "/sjis", "/odd", "/bom")
    html = "text/html; charset={}"
    site.replies |= {
        "/latin": Reply(
            b"<meta charset=utf-8>caf\xe9 \x93x\x94", content_type=html.format("ISO-8859-1")
        ),
        "/meta": Reply(b"<meta charset=latin1>caf\xe9", content_type="text/html"),
        "/sjis": Reply("日本".encode("cp932"), content_type='text/html;charset="Shift_JIS"'),
        "/odd": Reply(b"caf\xe9", content_type=html.format("punycode")),
        "/bom": Reply(b"\xef\xbb\xbfx", content_type=html.format("utf-8")),
    }  # fmt: skip
    root = (await read(site, tmp_path)).root
    assert (root / "latin.html").read_text("utf-8") == BOM + "<meta charset=utf-8>café “x”"
    assert (root / "meta.html").read_bytes() == b"<meta charset=latin1>caf\xe9"
    assert (root / "sjis.html").read_text("utf-8") == BOM + "日本"
    assert (root / "odd.html").read_bytes() == b"caf\xe9"
    assert (root / "bom.html").read_bytes() == b"\xef\xbb\xbfx"


async def test_limits_of_files_and_bytes(site: StaticSite, tmp_path: Path) -> None:
    paths = [f"/{number:05}" for number in range(60_000)]
    site.list(*paths)
    site.replies |= {path: Reply(b"x" * 1_000) for path in paths[:50]}
    limits = DocumentLimits(max_files=30, max_total_bytes=2_000)
    crawled = await read(site, tmp_path, limits=limits)
    assert 10 <= len(files(crawled)) <= 14
    first, second = without_origin(site, [*crawled.errors])
    assert first == "/00030: skipped, with all pages after it: more than 30 pages (MAX_FILES)"
    assert second.startswith("/000")
    assert ": skipped: all pages exceed 10000 bytes (MAX_TOTAL_BYTES) (and" in second


async def test_robots_txt(site: StaticSite, tmp_path: Path) -> None:
    slept: list[float] = []
    site.replies["/robots.txt"] = Reply(
        b"User-agent: quire\nCrawl-delay: 3\nDisallow: /*/private\nAllow: /a/private$\n"
        b"User-agent: *\nDisallow: /"
    )
    site.list("/", "/a/private", "/b/private/x", "/c")
    site.replies |= {path: page(path) for path in ("/", "/a/private", "/c")}
    crawled = await read(site, tmp_path, network=local_network(slept=slept))
    assert [*files(crawled)] == ["a/private.html", "c.html", "index.html"]
    assert without_origin(site, [*crawled.errors]) == ["/b/private/x: is disallowed by robots.txt"]
    assert max(slept) == pytest.approx(3)


async def test_robots_txt_that_cannot_be_read_forbids_all(site: StaticSite, tmp_path: Path) -> None:
    site.list("/")
    site.replies |= {"/": page("x"), "/robots.txt": Reply(status=503)}
    with pytest.raises(QuireError, match=r"robots.txt answers with status 503"):
        await read(site, tmp_path)
    site.replies["/robots.txt"] = Reply(status=403)
    assert [*files(await read(site, tmp_path))] == ["index.html"]


async def test_a_busy_site_is_given_time(site: StaticSite, tmp_path: Path) -> None:
    replies = [Reply(status=429, headers={"Retry-After": "30"}), Reply(status=503), page("x")]
    slept: list[float] = []
    site.list("/")
    site.replies["/"] = lambda _: replies.pop(0)
    crawled = await read(site, tmp_path, network=local_network(slept=slept))
    assert [*files(crawled)] == ["index.html"]
    assert slept[-2:] == [pytest.approx(30), pytest.approx(4)]
    site.replies["/"] = Reply(status=503, headers={"Retry-After": "7200"})
    with pytest.raises(QuireError, match="asks to wait 7200 seconds"):
        await read(site, tmp_path)


REFUSED = "is inside the server's network, where nothing is read"


async def test_nothing_inside_the_network_is_read(site: StaticSite, tmp_path: Path) -> None:
    site.list("/")
    site.replies["/"] = page("x")
    port = site.origin.rpartition(":")[2]
    hosts = ("127.0.0.1", "localhost", "0x7f.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]")
    for host in hosts:
        url = parse_address(f"http://{host}:{port}/sitemap.xml")
        with pytest.raises(InvalidRequest, match=REFUSED):
            await crawl(url, tmp_path, DocumentLimits())
    with pytest.raises(QuireError, match="is not a valid address"):
        await crawl(parse_address(f"http://2130706433:{port}/"), tmp_path, DocumentLimits())
    assert site.requests == []


async def test_a_name_that_changes_its_address_is_refused(site: StaticSite, tmp_path: Path) -> None:
    """The address is checked where the connection is opened, so there is no time between."""
    site.list("/")
    site.replies["/"] = page("x")
    resolver = Resolver("127.0.0.1", "127.0.0.2")
    looked_up: list[str] = []

    def is_allowed(address: object) -> bool:
        looked_up.append(str(address))
        return address == LOOPBACK

    network = local_network(resolver, is_allowed)
    # one site with two names, which are resolved apart
    site.replies["/sitemap.xml"] = redirect(f"{site.origin.replace('://', '://www.')}/s.xml")
    with pytest.raises(InvalidRequest, match=REFUSED):
        await read(site, tmp_path, network=network)
    assert looked_up[-1] == "127.0.0.2"
    assert set(looked_up[:-1]) == {"127.0.0.1"}


@pytest.mark.parametrize(
    "address",
    [
        "", "book.example", "ftp://book.example/", "https://", "https:///sitemap.xml",
        "https://[::1/", "https://a:99999/", "javascript:alert(1)",
        "https://b.example/" + "a" * 2_000,
    ],
)  # fmt: skip
def test_text_that_is_no_address(address: str) -> None:
    with pytest.raises(InvalidRequest, match="must be that of a site"):
        parse_address(address)


def test_credentials_are_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidRequest, match="user name or password") as raised:
        parse_address("https://me:secret@book.example/")
    assert "secret" not in str(raised.value)


async def test_two_runs_at_once_are_refused(site: StaticSite, tmp_path: Path) -> None:
    site.list("/")
    reached, go = asyncio.Event(), asyncio.Event()
    network = local_network()

    async def sleep(seconds: float) -> None:
        reached.set()
        await go.wait()
        await network.sleep(seconds)

    site.replies["/"] = page("x")
    first = asyncio.create_task(read(site, tmp_path, network=replace(network, sleep=sleep)))
    async with asyncio.timeout(10):
        await reached.wait()
    with pytest.raises(Conflict):
        await read(site, tmp_path)
    go.set()
    await first


async def test_a_run_that_takes_too_long_says_how_to_go_on(
    site: StaticSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.crawl, "_MAX_SECONDS", 0.3)
    site.list("/", "/slow")
    site.replies |= {"/": page("x"), "/slow": Reply(b"x", hangs=True)}
    with pytest.raises(QuireError, match="Start the ingestion again: it goes on where it stopped"):
        await read(site, tmp_path)


async def test_a_full_disk_ends_the_run(
    site: StaticSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(StoredSite, "write", write)
    site.list("/")
    site.replies["/"] = page("x")
    with pytest.raises(StoreUnavailable, match=r"cannot be stored: No space left on device\."):
        await read(site, tmp_path)


async def test_dead_pages_of_a_stale_sitemap_are_no_reason_to_stop(
    site: StaticSite, tmp_path: Path
) -> None:
    site.list(*(f"/{number}" for number in range(60)))
    site.replies |= {f"/{number}": page("x", ETag="\xe9") for number in range(35)}
    for _ in range(2):  # an ETag that cannot be sent back is not used
        crawled = await read(site, tmp_path)
        assert len(files(crawled)) == 35
    [line] = without_origin(site, [*crawled.errors])
    assert line == "/35: does not exist (status 404) (and 24 others)"


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/docs/", "index.html"),
        ("/docs/a/", "a/index.html"),
        ("/docs/a", "a.html"),
        ("/docs/v1.2", "v1.2.html"),
        ("/docs/a.HTML", "a.HTML"),
        ("/docs/a.htm", "a.htm"),
        ("/docs/a.xhtml", "a.xhtml"),
        ("/docs/a.php", "a.php.html"),
        ("/docs/a%20b", "a b.html"),
        ("/docs/a%2Fb", ""),
        ("/docs//a", ""),
        ("/docs/" + "a/" * 600, ""),
    ],
)
def test_file_names(path: str, file: str) -> None:
    assert file_name(path, "/docs/") == file
