"""Anchors of headings, as each generator's own code makes them.

A slug is made from a heading's text, then made unique within its page; both steps differ between
generators, and so does what an explicit id (`{#id}`) does to the headings after it.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote

# --- Characters ---------------------------------------------------------------------------------

# Marks with the derived property Alphabetic, DerivedCoreProperties.txt of Unicode 16. Python's
# str.isalpha() is about letters only; Rust's is_alphanumeric() counts these as well.
_ALPHABETIC_MARKS: Final = (
    "345 363-36f 5b0-657 659-6dc 6e1-6e8 6ed-73f 7a6-7b0 816-817 81b-82c 897 8d4-8df 8e3-8e9 "
    "8f0-93b 93e-94c 94e-94f 955-983 9be-9cc 9d7-9e3 a01-a03 a3e-a4c a51-a83 abe-acc ae2-afc "
    "b01-b03 b3e-b4c b56-bcc bd7-c04 c3e-c4c c55-c83 cbe-ccc cd5-d03 d3e-d4c d57-d83 dcf-e3a e4d "
    "eb1-eb9 ebb-ebc ecd f71-f83 f8d-fbc 102b-1036 1038 103b-109d 1712-1713 1732-1733 1752-1773 "
    "17b6-17c8 1885-1938 1a17-1a5e 1a61-1a74 1abf-1ac0 1acc-1ace 1b00-1b04 1b35-1b43 1b80-1ba9 "
    "1bac-1bad 1be7-1bf1 1c24-1c36 1dd3-1df4 2de0-2dff a674-a67b a69e-a69f a802 a80b-a827 "
    "a880-a8c3 a8c5 a8ff-a92a a947-a952 a980-a983 a9b4-a9bf a9e5-aabe aaeb-aaf5 abe3-abea fb1e "
    "10376-10a0f 10d24-10d69 10eab-10efc 11000-11045 11073-11074 11080-110b8 110c2-11132 "
    "11145-11146 11180-111bf 111ce-11234 11237-112e8 11300-11303 1133e-1134c 11357-11363 "
    "113b8-113cd 11435-11441 11443-11445 114b0-114c1 115af-115be 115dc-1163e 11640-116b5 "
    "1171d-1172a 1182c-11838 11930-1193c 11940-11942 119d1-119df 119e4-11a0a 11a35-11a3e "
    "11a51-11a97 11b60-11c3e 11c92-11d41 11d43 11d47-11d96 11ef3-11f40 1611e-1612e 16f4f-16f92 "
    "16ff0-16ff1 1bc9e 1e000-1e08f 1e6e3-1e6f5 1e947 "
)
# Circled and squared letters are symbols, yet alphabetic and so word characters elsewhere.
_ALPHABETIC_SYMBOLS: Final = (
    (0x24B6, 0x24E9),
    (0x1F130, 0x1F149),
    (0x1F150, 0x1F169),
    (0x1F170, 0x1F189),
)


@lru_cache(maxsize=1)
def _mark_ranges() -> tuple[list[int], list[int]]:
    pairs = [part.partition("-") for part in _ALPHABETIC_MARKS.split()]
    return [int(a, 16) for a, _, _ in pairs], [int(b or a, 16) for a, _, b in pairs]


def _is_word(char: str) -> bool:
    r"""`\p{Word}` as Ruby and github-slugger have it: letters, marks, digits, connectors."""
    category = unicodedata.category(char)
    if category[0] in "LM" or category in ("Nd", "Nl", "Pc"):
        return True
    return any(low <= ord(char) <= high for low, high in _ALPHABETIC_SYMBOLS)


def _is_rust_alphanumeric(char: str) -> bool:
    category = unicodedata.category(char)
    if category[0] in "LN":
        return True
    if category[0] == "M":
        lows, highs = _mark_ranges()
        place = bisect_right(lows, ord(char)) - 1
        return place >= 0 and ord(char) <= highs[place]
    return any(low <= ord(char) <= high for low, high in _ALPHABETIC_SYMBOLS)


# --- Slugs --------------------------------------------------------------------------------------


def github_slug(text: str, *, lower: bool = True) -> str:
    """github-slugger, which Docusaurus uses."""
    text = text.lower() if lower else text
    return "".join(c for c in text if c in "- " or _is_word(c)).replace(" ", "-")


def kramdown_slug(text: str) -> str:
    """kramdown's GitHub flavour, Jekyll's default."""
    text = "".join(c for c in text.lower() if c in "- \t" or _is_word(c))
    return text.replace(" ", "-").replace("\t", "-")


def kramdown_plain_slug(text: str) -> str:
    """kramdown's own flavour: from the first ASCII letter on, and ASCII only."""
    text = re.sub(r"^[^a-zA-Z]+", "", text)
    return re.sub(r"[^a-zA-Z0-9 -]", "", text).replace(" ", "-").lower() or "section"


_VITEPRESS_SPECIAL = re.compile(r"""[\s~`!@#$%^&*()\-_+=\[\]{}|\\;:"'“”‘’<>,.?/]+""")
_VITEPRESS_DROPPED = re.compile(r"[\u0300-\u036f\u0000-\u001f]")


def vitepress_slug(text: str) -> str:
    """`slugify` of @mdit-vue/shared."""
    text = _VITEPRESS_DROPPED.sub("", unicodedata.normalize("NFKD", text))
    text = _VITEPRESS_SPECIAL.sub("-", text).strip("-")
    # ASCII digits only: the rule is a JavaScript \\d.
    return re.sub(r"^([0-9])", r"_\1", text).lower()


def mdbook_slug(text: str) -> str:
    kept = []
    for char in text.strip().lower():
        if char in "_-" or _is_rust_alphanumeric(char):
            kept.append(char)
        elif char.isspace():
            kept.append("-")
    return "".join(kept) or "section"


def hugo_slug(text: str, *, ascii_only: bool = False) -> str:
    """`autoHeadingIDType` github, Hugo's default, or github-ascii."""
    if ascii_only:
        text = unicodedata.normalize("NFD", text)
    kept = []
    for char in text.strip():
        if ascii_only and not char.isascii():
            continue
        if char in "- ":
            kept.append("-")
        elif char == "_" or unicodedata.category(char)[0] == "L" or char.isdecimal():
            kept.append(char.lower() if len(char.lower()) == 1 else char.lower()[0])
    return "".join(kept) or "heading"


def blackfriday_slug(text: str) -> str:
    """Hugo's old `autoHeadingIDType: blackfriday`."""
    words = re.split(r"[\W_]+", text.lower())
    return "-".join(word for word in words if word) or "heading"


def markdown_slug(text: str, separator: str = "-", *, ascii_only: bool = True) -> str:
    """The toc extension of Python-Markdown, MkDocs' default."""
    if ascii_only:
        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    text = re.sub(r"[^\w\s-]", "", text).strip().lower()
    return re.sub(rf"[{re.escape(separator)}\s]+", lambda _: separator, text)


def pymdownx_slug(
    text: str,
    separator: str = "-",
    *,
    case: str = "none",
    normalize: str = "NFC",
    percent_encode: bool = False,
) -> str:
    """`pymdownx.slugs.slugify`."""
    form: dict[str, Callable[[str], str]] = {
        "lower": str.lower,
        "lower-ascii": lambda t: re.sub(r"[A-Z]", lambda m: m[0].lower(), t),
        "fold": str.casefold,
    }
    if normalize in ("NFC", "NFD", "NFKC", "NFKD"):  # the library wants it as a literal type
        text = unicodedata.normalize(normalize, text)  # type: ignore[arg-type]
    text = form.get(case, str)(re.sub(r"</?[^>]*>", "", text).strip())
    text = re.sub(r"[^\w\- ]", "", text).replace(" ", separator)
    return quote(text) if percent_encode else text


_DOCUTILS_LETTERS: Final = str.maketrans(
    {
        "ø": "o", "đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ŧ": "t", "ƀ": "b", "ƃ": "b",
        "ƈ": "c", "ƌ": "d", "ƒ": "f", "ƙ": "k", "ƚ": "l", "ƞ": "n", "ƥ": "p", "ƫ": "t",
        "ƭ": "t", "ƴ": "y", "ƶ": "z", "ǥ": "g", "ȥ": "z", "ȴ": "l", "ȵ": "n", "ȶ": "t",
        "ȷ": "j", "ȼ": "c", "ȿ": "s", "ɀ": "z", "ɇ": "e", "ɉ": "j", "ɋ": "q", "ɍ": "r",
        "ɏ": "y", "ß": "sz", "æ": "ae", "œ": "oe", "ȸ": "db", "ȹ": "qp",
    }
)  # fmt: skip


def docutils_slug(text: str) -> str:
    """`docutils.nodes.make_id`; empty where docutils would number the heading."""
    text = text.lower().translate(_DOCUTILS_LETTERS)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    text = re.sub(r"[^a-z0-9]+", "-", " ".join(text.split()))
    return re.sub(r"^[-0-9]+|-+$", "", text)


# --- Uniqueness within a page ------------------------------------------------------------------

Named = tuple[str, bool]
"""A slug, or an explicit id (True)."""


def numbered(slugs: Iterable[Named], *, explicit_count: bool) -> list[str]:
    """The first free of `x`, `x-1`, `x-2`: mdBook, VitePress and Hugo.

    `explicit_count`: whether explicit ids are taken names for the headings after them.
    """
    used: set[str] = set()
    following: dict[str, int] = {}
    anchors = []
    for slug, explicit in slugs:
        anchor = slug
        if not explicit:
            count = following.get(slug, 1)
            while anchor in used:
                anchor, count = f"{slug}-{count}", count + 1
            following[slug] = count
        if explicit_count or not explicit:
            used.add(anchor)
        anchors.append(anchor)
    return anchors


def github_numbered(slugs: Iterable[Named]) -> list[str]:
    """github-slugger's own way of counting; explicit ids take no part in it."""
    occurrences: dict[str, int] = {}
    anchors = []
    for slug, explicit in slugs:
        anchor = slug
        if not explicit:
            while anchor in occurrences:
                occurrences[slug] += 1
                anchor = f"{slug}-{occurrences[slug]}"
            occurrences[anchor] = 0
        anchors.append(anchor)
    return anchors


def kramdown_numbered(slugs: Iterable[Named]) -> list[str]:
    """A counter for each slug, which looks at nothing else: two headings may share an anchor."""
    seen: dict[str, int] = {}
    anchors = []
    for slug, explicit in slugs:
        count = seen.get(slug, 0)
        anchors.append(slug if explicit or not count else f"{slug}-{count}")
        if not explicit:
            seen[slug] = count + 1
    return anchors


def markdown_numbered(slugs: Iterable[Named]) -> list[str]:
    """Python-Markdown: `_1`, `_2`; explicit ids anywhere in the page are taken from the start."""
    pairs = list(slugs)
    used = {slug for slug, explicit in pairs if explicit}
    following: dict[str, int] = {}  # up to which number the names of a base are known to be taken
    anchors = []
    for slug, explicit in pairs:
        anchor = slug
        if not explicit and (anchor in used or not anchor):
            ended = re.fullmatch(r"(.*)_([0-9]+)", anchor, re.DOTALL)
            base = ended[1] if ended else anchor
            count = int(ended[2]) if ended else following.get(base, 0)
            while anchor in used or not anchor:
                count += 1
                anchor = f"{base}_{count}"
            if not ended:
                following[base] = count
        used.add(anchor)
        anchors.append(anchor)
    return anchors


def docutils_numbered(slugs: Iterable[Named]) -> list[str]:
    """docutils: `id1`, `id2`, one counter for the page, for repeated and for empty names."""
    used: set[str] = set()
    count = 0
    anchors = []
    for slug, _ in slugs:
        anchor = slug
        while not anchor or anchor in used:
            count += 1
            anchor = f"id{count}"
        used.add(anchor)
        anchors.append(anchor)
    return anchors


Slug = Callable[[str], str]


def markdown_slugger(toc: Mapping[str, object]) -> Slug | None:
    """The slugify of MkDocs' `toc` settings; None when it is code that cannot be read."""
    separator = toc.get("separator")
    separator = separator if isinstance(separator, str) else "-"
    name, arguments = toc.get("slugify"), toc.get("slugify_arguments")
    keywords = arguments if isinstance(arguments, Mapping) else {}
    match name:
        case None | "" | "markdown.extensions.toc.slugify":
            return lambda text: markdown_slug(text, separator)
        case "markdown.extensions.toc.slugify_unicode":
            return lambda text: markdown_slug(text, separator, ascii_only=False)
        case "pymdownx.slugs.slugify":
            case, form = keywords.get("case", "none"), keywords.get("normalize", "NFC")
            encode = keywords.get("percent_encode", False) is True
            return lambda text: pymdownx_slug(
                text, separator, case=str(case), normalize=str(form), percent_encode=encode
            )
        # What the same package called them before it took keywords.
        case "pymdownx.slugs.uslugify" | "pymdownx.slugs.uslugify_encoded":
            encode = str(name).endswith("encoded")
            return lambda t: pymdownx_slug(t, separator, case="lower", percent_encode=encode)
        case "pymdownx.slugs.uslugify_cased" | "pymdownx.slugs.uslugify_cased_encoded":
            encode = str(name).endswith("encoded")
            return lambda t: pymdownx_slug(t, separator, percent_encode=encode)
        case "pymdownx.slugs.gfm" | "pymdownx.slugs.gfm_encoded":
            encode = str(name).endswith("encoded")
            return lambda t: pymdownx_slug(t, separator, case="lower-ascii", percent_encode=encode)
    return None
