import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lib.sites.built import BuiltSite, PageFacts, built_site, file_address, looks_built, sample

PATHS = ["index.html", "404.html", "guide/index.html", "guide/tides.html", "guide/ebb.html"]
HOST = "https://b.example"


def facts(path: str, canonical: str = "", *links: str, **fields: object) -> PageFacts:
    return PageFacts(path=path, canonical=canonical, links=links, **fields)  # type: ignore[arg-type]


def urls(site: BuiltSite, paths: Sequence[str] = PATHS) -> list[str]:
    return [site.address(path) for path in paths]


def test_without_facts_a_page_has_the_path_of_its_file() -> None:
    assert urls(built_site(PATHS, [])) == [
        "/",
        "/404.html",
        "/guide/",
        "/guide/tides.html",
        "/guide/ebb.html",
    ]


@pytest.mark.parametrize(
    ("pages", "base"),
    [
        ({"guide/tides.html": "/docs/guide/tides.html", "index.html": "/docs/"}, "/docs/"),
        ({"guide/tides.html": "/a/b/guide/tides", "guide/ebb.html": "/a/b/guide/ebb/"}, "/a/b/"),
        # the index page of a copied template; a page that names another one
        ({"guide/tides.html": "/guide/tides.html", "index.html": "/other/"}, "/"),
        ({"guide/tides.html": "/x/guide/ebb.html", "guide/ebb.html": "/x/guide/ebb.html"}, "/x/"),
        ({"guide/index.html": "/d%C3%A9/guide/"}, "/d%C3%A9/"),
    ],
)
def test_the_address_of_the_site_is_that_of_most_canonical_links(
    pages: dict[str, str], base: str
) -> None:
    site = built_site(PATHS, [facts(path, HOST + url) for path, url in pages.items()])
    assert file_address(site.site, "404.html") == f"{HOST}{base}404.html"


def test_the_sitemap_gives_the_address_of_a_site_without_canonical_links() -> None:
    sitemap = [f"{HOST}/docs/", f"{HOST}/docs/guide/tides", f"{HOST}/docs/gone"]
    site = built_site(PATHS, [], sitemap=sitemap)
    assert urls(site)[3:] == [f"{HOST}/docs/guide/tides", f"{HOST}/docs/guide/ebb.html"]
    assert site.form_in_sitemap("guide/ebb.html") is None


def test_an_index_page_that_redirects_does_not_decide_the_address() -> None:
    redirect = [facts("index.html", f"{HOST}/guide/index.html")]
    assert built_site(PATHS, redirect, sitemap=[f"{HOST}/guide/tides.html"]).site.base_url == "/"


def test_links_to_another_site_of_the_host_do_not_decide_the_path() -> None:
    links = ("/other/guide/tides.html", "/other/x", "/other/y")
    assert built_site(PATHS, [facts("index.html", "", *links)]).site.base_url == "/"


def test_links_from_the_root_give_the_path_of_a_site_without_a_host() -> None:
    links = ("/docs/guide/tides.html", "/docs/", "//cdn.example/x", "/docs/guide/", "https://[")
    assert file_address(built_site(PATHS, [facts("index.html", "", *links)]).site, "404.html") == (
        "/docs/404.html"
    )


@pytest.mark.parametrize(
    ("site_url", "address"),
    [
        ("https://new.example/here/", "https://new.example/here/404.html"),
        ("https://new.example", "https://new.example/404.html"),
        (HOST, f"{HOST}/docs/404.html"),
    ],
)
def test_the_configured_address_wins(site_url: str, address: str) -> None:
    pages = [facts("guide/tides.html", f"{HOST}/docs/guide/tides")]
    site = built_site(PATHS, pages, site_url=site_url)
    assert site.address("404.html").removesuffix(".html") == address.removesuffix(".html")
    # the canonical link still tells the form
    assert site.address("guide/tides.html", pages[0].canonical).endswith("guide/tides")


@pytest.mark.parametrize(
    "canonical",
    [
        "https://evil.example/docs/guide/tides",
        "https://b.example.evil.example/docs/guide/tides",
        "javascript:alert(1)",
        "//evil.example/docs/guide/tides",
        f"{HOST}/elsewhere/guide/tides",
        f"{HOST}/docs/guide/other",
        f"{HOST}/docs/",
    ],
)
def test_a_canonical_link_counts_only_for_its_own_file(canonical: str) -> None:
    site = built_site(PATHS, [facts("index.html", f"{HOST}/docs/")])
    assert site.address("guide/tides.html", canonical) == f"{HOST}/docs/guide/tides.html"
    assert site.original("guide/tides.html", canonical) is None


@pytest.mark.parametrize(
    ("links", "form"),
    [
        (["guide/tides", "guide/ebb", "guide/tides.html"], "guide/tides"),
        (["./guide/tides/#x", "/guide/ebb/?q"], "guide/tides/"),
        (["guide/tides.html", f"{HOST}/guide/ebb.html"], "guide/tides.html"),
        (["https://other.example/guide/tides", "mailto:x", "guide/"], "guide/tides.html"),
    ],
)
def test_the_site_s_links_tell_the_form_of_addresses(links: list[str], form: str) -> None:
    site = built_site(PATHS, [facts("index.html", f"{HOST}/", *links)])
    assert site.address("guide/tides.html") == f"{HOST}/{form}"
    assert site.address("index.html") == f"{HOST}/"


def test_an_address_that_is_another_file_s_is_not_given_away() -> None:
    paths = ["guide.html", "guide/index.html", "a.html"]
    links = ["a/", "guide/", "guide"]
    site = built_site(paths, [facts("a.html", f"{HOST}/a/", *links)])
    assert urls(site, paths) == [f"{HOST}/guide.html", f"{HOST}/guide/", f"{HOST}/a/"]


def test_long_addresses_take_little_time() -> None:
    long = "/".join(["x"] * 450)
    sitemap = [f"{HOST}/{n}/{long}" for n in range(2_000)]
    links = [f"/{n}/{long}" for n in range(2_000)]
    before = time.process_time()
    built_site(PATHS, [facts("index.html", "", *links)], sitemap=sitemap)
    assert time.process_time() - before < 5


def test_a_page_that_names_another_one_as_canonical_repeats_it() -> None:
    site = built_site(PATHS, [facts("guide/ebb.html", f"{HOST}/guide/ebb.html")])
    assert site.original("guide/tides.html", f"{HOST}/guide/ebb") == "guide/ebb.html"
    assert site.original("guide/ebb.html", f"{HOST}/guide/ebb/") is None


def test_paths_are_percent_encoded() -> None:
    assert built_site(["a b/ü#?.html"], []).address("a b/ü#?.html") == "/a%20b/%C3%BC%23%3F.html"


def test_blocks_on_most_pages_are_repeated() -> None:
    pages = [
        facts(f"{n}.html", blocks={"footer", f"own {n}", "half" if n % 2 else ""})
        for n in range(10)
    ]
    assert built_site(PATHS, pages).repeated == {"footer"}
    assert built_site(PATHS, pages[:4]).repeated == frozenset()


def test_a_list_of_links_on_three_pages_is_navigation() -> None:
    pages = [facts(f"p{n}.html", blocks=["menu", "see"], menus=["menu"]) for n in range(3)]
    pages += [facts(f"q{n}.html") for n in range(9)]
    assert built_site(PATHS, pages).repeated == {"menu"}
    assert built_site(PATHS, pages[1:]).repeated == frozenset()


def test_pages_come_in_the_order_of_the_navigation() -> None:
    header = ("/guide/", "/")
    pages = [
        facts("index.html", navigation=(*header, "guide/tides.html", "guide/")),
        facts("guide/tides.html", navigation=("tides.html#x", "ebb.html", "index.html")),
    ]
    site = built_site(PATHS, pages)
    assert site.order == ("index.html", "guide/tides.html", "guide/ebb.html", "guide/index.html")


def test_without_navigation_pages_follow_one_another() -> None:
    pages = [facts("index.html", following="guide/"), facts("guide/index.html", following="ebb")]
    assert built_site(PATHS, pages).order == ("index.html", "guide/index.html", "guide/ebb.html")
    sitemap = [f"{HOST}/guide/ebb", f"{HOST}/gone", f"{HOST}/guide/"]
    assert built_site(PATHS, [], sitemap=sitemap).order == ("guide/ebb.html", "guide/index.html")


@pytest.mark.parametrize(
    ("folders", "versions"),
    [
        ("v1 v2.1 latest", {"v1", "v2.1", "latest"}),
        ("en/1.0 en/2.0 en/stable", {"1.0", "2.0", "stable"}),
        ("1.0 2.0", set()),  # may be chapters
        ("latest guide", set()),
        ("2024 2025", set()),
    ],
)
def test_folders_of_versions_stand_side_by_side(folders: str, versions: set[str]) -> None:
    paths = [f"{folder}/index.html" for folder in folders.split()]
    site = built_site([*paths, *(path.replace("index", "a") for path in paths)], [])
    assert built_site(paths, []).versions == set()  # posts about versions
    assert site.versions == versions
    assert [site.version(path) for path in paths] == [
        folder.rpartition("/")[2] if versions else "" for folder in folders.split()
    ]


@pytest.mark.parametrize(
    ("pages", "title"),
    [
        ([{"title": "Tides | Harbour"}, {"title": "Ebb | Harbour"}], "Harbour"),
        (
            [{"title": "Harbour - Tides"}, {"title": "Harbour - Ebb"}, {"title": "Harbour"}],
            "Harbour",
        ),
        ([{"title": "Tides"}, {"title": "Ebb"}], ""),
        (
            [{"title": "Tides | X", "site_title": "The harbour"}, {"title": "Ebb | X"}],
            "The harbour",
        ),
    ],
)
def test_the_site_s_title_is_what_titles_share(pages: list[dict[str, str]], title: str) -> None:
    site = built_site(PATHS, [facts("index.html", **each) for each in pages]).site
    assert site.title == title


def test_the_sample_is_always_the_same_and_has_the_index_page() -> None:
    paths = [f"{n}.html" for n in range(500)]
    assert sample(["index.html", *paths]) == sample([*reversed(paths), "index.html"])
    assert len(sample(paths)) == 99
    assert "index.html" in sample([*paths, "index.html"])


@pytest.mark.parametrize(
    ("files", "built"),
    [
        ({"index.html": "<html>", "404.html": ""}, True),
        ({"index.html": "<html>", "sitemap.xml": ""}, True),
        ({"index.html": "<html>"}, False),
        ({"404.html": "", "sitemap.xml": ""}, False),
        ({"index.html": "---\nlayout: home\n---\n", "404.html": ""}, False),
        ({"index.html": "<html>", "404.html": "", "_config.yml": ""}, False),
    ],
)
def test_a_build_is_told_from_its_sources(
    tmp_path: Path, files: dict[str, str], built: bool
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert looks_built(tmp_path) == built
