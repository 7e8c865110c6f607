"""Anchors of headings, as each generator's own code makes them.

A slug is made from a heading's text, then made unique within its page; both steps differ between
generators, and so does what an explicit id (`{#id}`) does to the headings after it.

The text of a heading as each generator reads it before making an anchor of it.

Generators agree on most headings and differ on the odd ones: whether an image's alternative text
counts, what becomes of emoji codes, inline HTML, MDX expressions, `--` and footnote marks. So the
raw inline source is parsed anew, once for each flavour of Markdown.

Ids of a page's headings: what the author wrote where the generator heeds it, else a slug.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from lib.sites.config_files import Tagged, section
from lib.sites.detection import extension_settings
from lib.sites.javascript import UNKNOWN
from lib.sites.site import GENERATORS, Site

_LEAVES: Final = frozenset(
    ("text", "text_special", "code_inline", "html_inline", "image", "softbreak", "hardbreak", "mdx")
)
_EMOJI_CODE = re.compile(r":[a-zA-Z0-9_+-]+:")
_SMART_DASHES = re.compile(r"---?")
_SMART_MARK = re.compile(r"['\"]|---?|\.\.\.|<<|>>")
_ANGLES = re.compile(r"<<|>>")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]+\]")
_DIRECTIVE_NAME = re.compile(r"(?<!:):[A-Za-z](?:[\w-]*\w)?(?![:\w])")
_JSX_TAG = re.compile(r"</?(?:[A-Za-z_$][\w$.:-]*)?(?=[\s/>])")
_ATTRIBUTE_LISTS = re.compile(r"[ \t]*\{:?[ \t]*(?:[.#][\w-]|[\w-]+[ \t]*=)[^{}\n]*\}")
_SPAN_ATTRIBUTES = re.compile(r"\{:[^{}\n]*\}")
_ROLE = re.compile(r"\{[A-Za-z][\w:+-]*\}(?=`)")


@dataclass(frozen=True, slots=True)
class Flavour:
    """How one generator reads inline Markdown."""

    mdx: bool = False
    image_alt: bool = True
    emoji_codes: bool = True
    """Whether `:tada:` stays as text; without, it has become a picture."""
    footnotes: bool = True
    """Whether `[^1]` is a footnote's mark, which is no text."""
    smart_dashes: bool = False
    """Whether `--` has become a dash and `<<` a quotation mark, which no anchor keeps."""
    attributes: bool = False
    """Whether `{.class}` and `{: .class}` are taken away."""
    span_attributes: bool = False
    """Whether only `{: .class}` is."""
    breaks: str = "\n"
    raw_entities: bool = False
    first_leaf_only: bool = False
    """Hugo reads only the first piece of what stands in emphasis or a link."""
    last_line_only: bool = False
    roles: bool = False
    """Whether `{role}` before code is MyST's."""


FLAVOURS: Final = {
    "docusaurus": Flavour(mdx=True, breaks="\n"),
    "mkdocs": Flavour(image_alt=False, attributes=True),
    "vitepress": Flavour(
        emoji_codes=False, footnotes=False, attributes=True, breaks="", raw_entities=True
    ),
    "mdbook": Flavour(image_alt=False, attributes=True),
    "hugo": Flavour(attributes=True, smart_dashes=True, first_leaf_only=True, last_line_only=True),
    "jekyll": Flavour(image_alt=False, span_attributes=True, smart_dashes=True),
    "sphinx": Flavour(image_alt=False, footnotes=False, roles=True),
}


def _braced(text: str, start: int) -> int:
    """Index after the `}` that closes the `{` at `start`; 0 when none does."""
    level, quote, at = 0, "", start
    while at < len(text):
        char = text[at]
        if quote:
            at += char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'`" and level:
            quote = char
        elif char == "{":
            level += 1
        elif char == "}":
            level -= 1
            if level == 0:
                return at + 1
        at += 1
    return 0


def _mdx_rule(state: StateInline, silent: bool) -> bool:
    """`{expression}` is text as it stands; a JSX tag is none, whatever its attributes."""
    text, start = state.src, state.pos
    if text[start] == "{":
        end, content = _braced(text, start), ""
        content = text[start + 1 : end - 1]
    elif text[start] == "<" and (match := _JSX_TAG.match(text, start)):
        end, at = 0, match.end()
        while at < len(text):
            if text[at] == "{":
                at = _braced(text, at) or len(text)
            elif text[at] in "\"'":
                at = text.find(text[at], at + 1) + 1 or len(text)
            elif text[at] == ">":
                end, at = at + 1, len(text)
            else:
                at += 1
        content = ""
    else:
        return False
    if not end:
        return False
    if not silent:
        state.push("mdx", "", 0).content = content
    state.pos = end
    return True


@lru_cache(maxsize=2)
def _parser(mdx: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("strikethrough")
    if mdx:
        parser.inline.ruler.before("autolink", "mdx", _mdx_rule)
        # `{` has to stop a run of text; `<` does already.
        parser.disable(["autolink", "html_inline"])
    # The rule that joins pieces of text hides which of them were entities.
    parser.core.ruler.disable("text_join")
    return parser


def _leaf(token: Token, flavour: Flavour) -> str:
    match token.type:
        case "code_inline" | "mdx":
            return token.content
        case "html_inline":
            return ""
        case "softbreak" | "hardbreak":
            return flavour.breaks
        case "image":
            return token.content if flavour.image_alt else ""
    text = token.content
    if token.type == "text_special":
        return token.markup if flavour.raw_entities and token.info == "entity" else text
    if not flavour.emoji_codes:
        text = _EMOJI_CODE.sub("", text)
    if flavour.footnotes:
        text = _FOOTNOTE.sub("", text)
    if flavour.smart_dashes:
        text = _SMART_DASHES.sub("", text)
    if flavour.mdx:
        text = _DIRECTIVE_NAME.sub("", text)
    return text


def heading_text(
    source: str, flavour: Flavour, references: Mapping[str, Any] = MappingProxyType({})
) -> str:
    """`source` is one heading's raw inline Markdown, its explicit id taken away already, and
    `references` the link definitions of its page."""
    if flavour.attributes:
        source = _ATTRIBUTE_LISTS.sub("", source)
    if flavour.span_attributes:
        source = _SPAN_ATTRIBUTES.sub("", source)
    if flavour.roles:
        source = _ROLE.sub("", source)
    env = {"references": dict(references)}
    if flavour.footnotes:
        source = _outside_code(source, lambda part: _FOOTNOTE.sub("", part))
    elif flavour.roles:  # docutils takes the mark for its text
        source = _outside_code(source, lambda part: _FOOTNOTE.sub(lambda m: m[0][2:-1], part))
    if flavour.smart_dashes:
        source = _outside_code(source, lambda part: _ANGLES.sub("", part))
    inline = _parser(flavour.mdx).parseInline(source.strip(), env)
    pieces: list[str] = []
    depth, taken = 0, False
    for token in inline[0].children or []:
        if token.type not in _LEAVES:
            depth += token.nesting
            taken = taken and depth > 0
            continue
        if flavour.first_leaf_only and depth > 0:
            if not taken:
                marked = _SMART_MARK.search(token.content) if token.type == "text" else None
                pieces.append(token.content[: marked.start()] if marked else token.content)
            taken = True
            continue
        pieces.append(_leaf(token, flavour))
    text = "".join(pieces)
    return text.rpartition("\n")[2] if flavour.last_line_only else text


def _outside_code(source: str, change: Callable[[str], str]) -> str:
    parts = re.split(r"(`+[^`]*`+)", source)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))


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


class RoutedHeading(Protocol):
    """The part of `lib.markdown_page.Heading` that links need."""

    @property
    def level(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def explicit_id(self) -> str | None: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class RoutedPage(Protocol):
    """The part of `lib.markdown_page.Page` that links need."""

    @property
    def front_matter(self) -> Mapping[str, object]: ...
    @property
    def title(self) -> str: ...
    @property
    def headings(self) -> Sequence[RoutedHeading]: ...
    @property
    def references(self) -> Mapping[str, Any]: ...


_UNESCAPE: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_BRACES: Final = re.compile(
    r"\\?\{(?:[^{}\n]|/\*.*?\*/)*\}(?=[ \t]*(?:#+[ \t]*)?(?:\r?\n[ \t>]*[=-]+[ \t]*)?\Z)"
)
_LINE_BELOW: Final = re.compile(r"[ \t]*\r?\n {0,3}\{:([^{}\n]*)\}[ \t]*(?=\r?\n|\Z)")
# Each generator's own idea of an id behind a heading.
_OWN_ID: Final = {
    "docusaurus": re.compile(r"\s*\\?\{(?:#((?:(?!\{#|\}).)+)|/\*\s*#(\S+)(?: .*?)?\*/)\}\s*$"),
    "mkdocs": re.compile(r"(?:^|[ ]+)\{:?[ ]*([^}\n ][^}\n]*?)[ ]*\}[ ]*$"),
    "jekyll": re.compile(r"(?:^|[ \t]+)\{#([A-Za-z][\w:-]*)\}\s*$"),
    "sphinx": re.compile(r"(?!)"),
}
_ATTRIBUTES: Final = re.compile(
    r"[ \t]*\{:?((?:[ \t]*(?:[.#][^\s{}]+|[\w:-]+=(?:\"[^\"]*\"|'[^']*'|[^\s{}]+)))+)[ \t]*\}\s*$"
)
_ATTRIBUTE: Final = re.compile(r"#([^\s{}#]+)|\bid=(?:\"([^\"]*)\"|'([^']*)'|([^\s{}]+))")


def anchors(site: Site, page: RoutedPage, text: str = "") -> tuple[str | None, ...]:
    """The ids that the generator gives the page's headings; None where it gives none, or only the
    build knows which. `text` is what the page was read from."""
    generator = site.generator
    if generator not in GENERATORS:
        return (None,) * len(page.headings)
    flavour, slug = _flavour(site), _slugger(site)
    templated = _templates(site)
    named: list[Named] = []
    guessed: list[bool] = []
    for heading in page.headings:
        source, explicit = _explicit(site, heading, text)
        if explicit is not None:
            named.append((explicit, True))
            guessed.append(False)
            continue
        plain = heading_text(source, flavour, page.references)
        named.append((slug(plain) if slug else "", False))
        # Templates make text of their own: what it will be, only the build knows.
        guessed.append(slug is None or (templated is not None and bool(templated.search(source))))
    unique = _numbered(generator, named)
    if generator == "sphinx" and "[^" in text:
        # Footnotes draw from the same numbers, in an order that only the build knows.
        guessed = [
            unsure or bool(re.fullmatch(r"id\d+", anchor))
            for unsure, anchor in zip(guessed, unique, strict=True)
        ]
    return tuple(
        None
        if unsure or not anchor or (generator == "docusaurus" and heading.level == 1)
        else anchor
        for heading, anchor, unsure in zip(page.headings, unique, guessed, strict=True)
    )


def _templates(site: Site) -> re.Pattern[str] | None:
    """What a heading must not hold for its text to be known before the build."""
    patterns = {"hugo": r"\{\{[<%]", "jekyll": r"\{\{|\{%"}
    if site.generator == "mkdocs":
        hooks = ["<!--"] if site.settings.get("hooks") else []
        macros = {"macros", "zensical.extensions.macros"}
        plugins = extension_settings(site.settings, "plugins").keys()
        if macros & (plugins | extension_settings(site.settings, "markdown_extensions").keys()):
            hooks.append(r"\{\{|\{%")
        patterns["mkdocs"] = "|".join(hooks) or "(?!)"
    pattern = patterns.get(site.generator)
    return re.compile(pattern) if pattern else None


def _numbered(generator: str, named: list[Named]) -> list[str]:
    match generator:
        case "docusaurus":
            return github_numbered(named)
        case "mkdocs":
            return markdown_numbered(named)
        case "jekyll":
            return kramdown_numbered(named)
        case "sphinx":
            return docutils_numbered(named)
    return numbered(named, explicit_count=generator != "mdbook")


def _written(heading: RoutedHeading, text: str) -> str:
    """The heading's inline source with what stands in braces behind it, as far as that is known."""
    if text and (found := _BRACES.search(text[heading.start : heading.end])):
        braces = found[0]
        if not heading.source.endswith(braces):
            return f"{heading.source} {braces}"
        return heading.source
    if heading.explicit_id is not None:
        return f"{heading.source} {{#{heading.explicit_id}}}"
    return heading.source


def _explicit(site: Site, heading: RoutedHeading, text: str) -> tuple[str, str | None]:
    """The heading's source, and the id that its author gave it, if this generator heeds it."""
    source = _written(heading, text)
    if site.generator == "mkdocs" and not _attribute_lists(site):
        return source, None
    below = _LINE_BELOW.match(text, heading.end) if site.generator == "jekyll" and text else None
    found = _OWN_ID.get(site.generator, _ATTRIBUTES).search(source)
    if found is None:
        return source, _attribute_id(below[1]) if below else None
    source = source[: found.start()]
    match site.generator:
        case "docusaurus":
            return source, _UNESCAPE.sub(r"\1", found[1] or found[2]).strip()
        case "jekyll":
            return source, found[1]
    return source, _attribute_id(found[1])


def _attribute_id(attributes: str) -> str | None:
    ids = [a or b or c or d for a, b, c, d in _ATTRIBUTE.findall(attributes)]
    return ids[-1] if ids else None


def _attribute_lists(site: Site) -> bool:
    """Without a readable configuration: what nearly every site that writes ids has."""
    extensions = extension_settings(site.settings, "markdown_extensions")
    return site.config_file is None or bool(
        {"attr_list", "extra", "markdown.extensions.attr_list", "markdown.extensions.extra"}
        & extensions.keys()
    )


def _flavour(site: Site) -> Flavour:
    flavour = FLAVOURS[site.generator]
    if site.generator == "mkdocs":
        extensions = extension_settings(site.settings, "markdown_extensions")
        emoji = "pymdownx.emoji" in extensions or site.config_file is None
        return replace(flavour, emoji_codes=not emoji, attributes=_attribute_lists(site))
    if site.generator == "mdbook":
        html = section(site.settings, "output", "html")
        return replace(flavour, smart_dashes=html.get("smart-punctuation") is not False)
    if site.generator == "hugo":
        goldmark = section(site.settings, "markup", "goldmark", "extensions", "typographer")
        return replace(flavour, smart_dashes=goldmark.get("disable") is not True)
    return flavour


def _slugger(site: Site) -> Slug | None:
    """None when the site makes its slugs with code of its own."""
    match site.generator:
        case "docusaurus":
            kept = section(site.settings, "markdown", "anchors").get("maintainCase") is True
            return lambda text: github_slug(text, lower=not kept)
        case "vitepress":
            anchor = section(site.settings, "markdown").get("anchor")
            own = anchor is UNKNOWN or (isinstance(anchor, dict) and "slugify" in anchor)
            return None if own else vitepress_slug
        case "mkdocs":
            return markdown_slugger(_toc(site))
        case "mdbook":
            return mdbook_slug
        case "hugo":
            kind = section(site.settings, "markup", "goldmark", "parser").get("autoheadingidtype")
            if kind == "blackfriday":
                return blackfriday_slug
            return lambda text: hugo_slug(text, ascii_only=kind == "github-ascii")
        case "jekyll":
            kramdown = section(site.settings, "kramdown")
            if kramdown.get("auto_ids") is False:
                return None
            plain = str(kramdown.get("input", "GFM")).lower() == "kramdown"
            return kramdown_plain_slug if plain else kramdown_slug
    return docutils_slug


def _toc(site: Site) -> dict[str, object]:
    extensions = extension_settings(site.settings, "markdown_extensions")
    toc: dict[str, object] = dict(extensions.get("markdown.extensions.toc", {}))
    toc |= extensions.get("toc", {})
    if isinstance(slugify := toc.get("slugify"), Tagged):
        toc["slugify"] = slugify.tag.partition(":")[2]
        toc["slugify_arguments"] = section(slugify.value, "kwds")
    return toc
