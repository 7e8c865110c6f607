from lib.html_facts import read_facts

PAGE = b"""<html lang=en class=sidebar-visible><head>
<title>Tides | Harbour</title><link rel=canonical href="/tides"><link rel=next href=ebb>
<meta property="og:url" content="https://b.example/tides"><meta property=og:site_name content=H>
</head><body>
<nav class=top><a href="https://a.example">A</a> <a href="https://b.example">B</a>
<a href="https://c.example">C</a> <a href="/v1/tides">v1</a></nav>
<aside><a href=" tides ">Tides</a> <a href="#x">Here</a> <a href="ebb">Ebb</a></aside>
<main><p><a href="flood">Flood</a></p></main></body></html>"""


def test_facts_of_a_page() -> None:
    facts = read_facts("tides.html", PAGE)
    assert (facts.path, facts.canonical, facts.og_url) == (
        "tides.html",
        "/tides",
        "https://b.example/tides",
    )
    assert (facts.language, facts.title, facts.site_title) == ("en", "Tides | Harbour", "H")
    assert (facts.following, facts.navigation) == ("ebb", ["tides", "ebb"])
    assert "flood" in facts.links
    assert not any(link.startswith("#") for link in facts.links)


def test_a_page_without_anything() -> None:
    facts = read_facts("a.html", b"")
    assert (facts.canonical, facts.links, facts.navigation, facts.following) == ("", [], [], "")
