"""Elements that only a theme or a generator gives a meaning: by class or role, not by tag."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from selectolax.lexbor import LexborNode

from lib.html_inline import code_span
from lib.html_math import is_display, mark_scripts, read_tex
from lib.html_walk import Attributes, Converter, Enter, Leave, shown
from lib.markdown_page import fence


def find_theme(converter: Converter, node: LexborNode, attributes: Attributes) -> Enter | None:
    """Return the handler of an element whose classes or role have a meaning."""
    if classes := attributes.get("class"):
        for name in classes.split():
            enter = _BY_CLASS.get(name)
            if enter is None and "_" in name:  # of CSS modules: `codeBlockTitle_Ktv7`
                enter = _BY_CLASS.get(f"{name.partition('_')[0]}_")
            if enter is not None:
                return enter
    if role := attributes.get("role"):
        enter = _BY_ROLE.get(role)
        if enter is not None:
            return enter
    if converter.labels and node.mem_id in converter.labels:
        return _enter_panel
    if converter.footnotes and attributes.get("id") in converter.footnotes:
        return _enter_footnote
    return None


def _skip(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    return None


# Admonitions: a quote that begins with its title in bold

_KINDS: Final = frozenset(
    "note tip info warning danger caution important success error hint attention example question "
    "quote abstract bug failure seealso secondary".split()
)


def _enter_admonition(
    converter: Converter, node: LexborNode, attributes: Attributes
) -> Leave | None:
    converter.flush()
    if converter.in_line or not converter.writer.enter("> "):
        return converter.flush
    return converter.leave_container


def _enter_note(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    if node.tag in ("div", "p", "aside", "details", "blockquote", "section"):
        return _enter_admonition(converter, node, attributes)
    return converter.enter_plain(converter, node, attributes)


def _enter_topic(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """A box of docutils; other generators have this class around a page."""
    first = next(iter(node.iter()), None)
    if first is not None and "-title" in (first.attributes.get("class") or ""):
        return _enter_admonition(converter, node, attributes)
    return converter.enter_plain(converter, node, attributes)


def _enter_title(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    title = shown(node)
    if title in _KINDS:  # which style sheets show in capitals
        leave = converter.begin_label()
        converter.inline.text(title.capitalize())
        leave()
        return None
    return converter.begin_label()


def _enter_icon(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """The cell of Asciidoctor's admonitions that has their kind, perhaps as an icon."""
    if node.tag != "td":
        return converter.enter_plain(converter, node, attributes)
    icon = node.css_first("i[title], img[alt]")
    title = shown(node) or (
        (icon.attributes.get("title") or icon.attributes.get("alt") or "") if icon else ""
    )
    leave = converter.begin_label()
    converter.inline.text(title)
    leave()
    return None


def _enter_block_title(
    converter: Converter, node: LexborNode, attributes: Attributes
) -> Leave | None:
    """The title of a block of Asciidoctor, of a card or of an editor's frame."""
    if node.tag not in ("div", "p"):
        return converter.enter_plain(converter, node, attributes)
    parent = node.parent
    around = (parent.attributes.get("class") or "").split() if parent is not None else ()
    if "listingblock" in around or "literalblock" in around:
        return _enter_code_title(converter, node, attributes)
    return converter.begin_label()


def _enter_description(
    converter: Converter, node: LexborNode, attributes: Attributes
) -> Leave | None:
    """The text of a card, below its title without a space between them."""
    converter.inline.text(" ")
    return converter.enter_plain(converter, node, attributes)


# Code


def _enter_code_title(
    converter: Converter, node: LexborNode, attributes: Attributes
) -> Leave | None:
    in_sentence = node.tag in ("span", "code", "em", "strong") and not converter.inline.is_empty
    if converter.in_line or in_sentence:
        return converter.enter_plain(converter, node, attributes)
    converter.flush()
    converter.write_titles()
    converter.code_title = shown(node)
    return None


def _enter_frame_header(
    converter: Converter, node: LexborNode, attributes: Attributes
) -> Leave | None:
    if node.tag != "figcaption":
        return converter.enter_plain(converter, node, attributes)
    title = node.css_first(".title")
    return _enter_code_title(converter, title, attributes) if title is not None else None


def _enter_mermaid(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    source = node.text().strip()
    converter.flush()
    if source and not converter.in_line:
        converter.write(fence(source, "mermaid", converter.take_code_title()))
    return None


_PROMPT: Final = re.compile(r"(?:In |Out)?\[[\d* ]{0,9}\]:?")


def _enter_prompt(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """The number of a cell of a notebook."""
    if _PROMPT.fullmatch(shown(node)):
        return None
    return converter.enter_plain(converter, node, attributes)


def _enter_language(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """The name of the language in the corner of a block of code."""
    parent = node.parent
    if parent is not None and "language-" in (parent.attributes.get("class") or ""):
        return None
    return converter.enter_plain(converter, node, attributes)


# Tabs: each panel begins with its label

_TABS: Final = ("[role=tab]", "label", "li", "button", "a")


def _enter_tabs(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """A list of labels, whose panels follow it."""
    tabs = next((found for each in _TABS if (found := node.css(each))), [])
    classes = (attributes.get("class") or "").split()
    is_list = attributes.get("role") == "tablist" or "tablist" in classes
    if not tabs or not (is_list or tabs[0].tag == "label"):
        return converter.enter_plain(converter, node, attributes)
    labels = [shown(tab) for tab in tabs]
    for tab, label in zip(tabs, labels, strict=True):
        for name in ("id", "aria-controls"):
            if value := tab.attributes.get(name):
                converter.labels_by_id[value] = label
    for panel, label in zip(_panels(node, len(tabs)), labels, strict=False):
        converter.labels[panel.mem_id] = label
    converter.flush()
    return None


def _panels(tabs: LexborNode, count: int) -> Sequence[LexborNode]:
    """Return the panels of a list of tabs: the elements that follow it, or what is in the first."""
    for _ in range(3):
        following = list(islice(_following(tabs), count))
        if following:
            break
        if (parent := tabs.parent) is None:
            return ()
        tabs = parent
    inner = list(islice(following[0].iter(), count + 1)) if following else []
    if len(inner) == count and following[0].attributes.get("role") != "tabpanel":
        return inner
    return following


def _following(node: LexborNode) -> Iterator[LexborNode]:
    following = node.next
    while following is not None:
        if following.is_element_node:
            yield following
        following = following.next


def _enter_tab_set(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """Labels and panels by turns."""
    children = [child for child in node.iter() if child.tag != "input"]
    labels = [child for child in children if child.tag == "label"]
    panels = [child for child in children if child.tag != "label"]
    if len(labels) == len(panels):
        for label, panel in zip(labels, panels, strict=True):
            converter.labels[panel.mem_id] = shown(label)
            label.decompose()
    return converter.enter_plain(converter, node, attributes)


_BESIDE_CODE: Final = "p, li, table, h1, h2, h3, h4, h5, h6, dl, blockquote, img"


def _enter_panel(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    labelled = attributes.get("aria-labelledby") or attributes.get("id") or ""
    label = converter.labels_by_id.get(labelled) or converter.labels.get(node.mem_id, "")
    converter.flush()
    if not label or converter.in_line or not (shown(node) or node.css_first("img")):
        return converter.flush
    if len(node.css("pre")) == 1 and node.css_first(_BESIDE_CODE) is None:
        converter.write_titles()
        converter.tab_label = label
    else:
        converter.write_label(label)

    def leave() -> None:
        converter.flush()
        converter.write_titles()

    return leave


# Footnotes and citations

_LABEL: Final = re.compile(r"\[?([\w*†‡§¶#+.:-]{1,40})\]?")
_BACK: Final = (
    "a[role=doc-backlink], .footnote-backref, .reversefootnote, .data-footnote-backref, "
    ".footnote-back, .fn-backref, .backrefs, .footnote-definition-label, .footnote > .label"
)
_ARROWS: Final = "↩⤴↑^\ufe0e\ufe0f "


def read_reference(node: LexborNode) -> tuple[str, str] | None:
    """Return label and id of the footnote that an element refers to: a link, or what has one."""
    link = node if node.tag == "a" else node.css_first("a")
    href = (link.attributes.get("href") or "") if link is not None else ""
    label = _LABEL.fullmatch(shown(node)) if len(href) > 1 and href[0] == "#" else None
    return (label[1], href[1:]) if label is not None else None


def _enter_reference(
    converter: Converter, node: LexborNode, attributes: Attributes
) -> Leave | None:
    reference = read_reference(node)
    if reference is None or converter.in_heading:
        return converter.enter_plain(converter, node, attributes)
    write_reference(converter, *reference)
    return None


def write_reference(converter: Converter, label: str, anchor: str) -> None:
    converter.footnotes[anchor] = label
    converter.inline.verbatim(f"[^{label}]")


def _enter_footnote(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """The text of a footnote that was referred to."""
    label = converter.footnotes[attributes.get("id") or ""]
    if node.tag == "dt":
        converter.note = label
        return None
    if node.tag not in ("li", "aside", "div", "p", "section"):
        return converter.enter_plain(converter, node, attributes)
    return enter_note_text(converter, node, label)


def enter_note_text(converter: Converter, node: LexborNode, label: str) -> Leave:
    for each in node.css(_BACK):
        each.decompose()
    for each in node.css('a[href^="#"]'):
        if not each.text().strip(_ARROWS):
            each.decompose()
    _remove_number(node, label)
    converter.flush()
    if converter.in_line or not converter.writer.enter(f"[^{label}]: ", below="    "):
        return converter.flush
    return converter.leave_container


def _remove_number(node: LexborNode, label: str) -> None:
    """Remove the number of a footnote of Asciidoctor: a link, and a period after it."""
    first = node.first_child
    while first is not None and first.is_text_node and not (first.text_content or "").strip():
        first = first.next
    if first is None or first.tag != "a" or shown(first) != label:
        return
    after = first.next
    if after is not None and after.is_text_node:
        after.replace_with((after.text_content or "").lstrip(". "))
    first.decompose()


def _enter_footnotes(
    converter: Converter, node: LexborNode, attributes: Attributes
) -> Leave | None:
    if node.tag == "hr":
        return None
    if attributes.get("id") in converter.footnotes:
        return _enter_footnote(converter, node, attributes)
    for child in list(node.iter()):
        if child.tag == "hr":
            child.decompose()
    return converter.enter_plain(converter, node, attributes)


def _enter_citation(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """An entry of a bibliography: its label, as a term, and its text."""
    label = node.css_first(".label") if node.tag in ("div", "aside") else None
    if label is None or converter.in_line:
        return converter.enter_plain(converter, node, attributes)
    converter.flush()
    converter.inline.text(shown(label))
    converter.flush()
    for each in node.css(".label, .backrefs"):
        each.decompose()
    if not converter.writer.enter(": ", tight=True):
        return converter.flush
    return converter.leave_container


# Descriptions of functions, classes and options in Sphinx: a heading for each


def enter_definitions(
    converter: Converter, node: LexborNode, attributes: Attributes
) -> Leave | None:
    converter.flush()
    term = next((child for child in node.iter() if child.tag == "dt"), None)
    is_api = not converter.in_line and term is not None and _is_signature(term)
    converter.is_api.append(is_api)
    converter.api_levels += is_api

    def leave() -> None:
        converter.flush()
        converter.api_levels -= converter.is_api.pop()
        converter.has_term = False

    return leave


def _is_signature(term: LexborNode) -> bool:
    attributes = term.attributes
    if "sig" in (attributes.get("class") or "").split():
        return True
    return bool(attributes.get("id")) and term.css_first(".descname, .sig-name") is not None


def enter_term(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    if converter.is_api and converter.is_api[-1]:
        converter.flush()
        text = shown(node).replace("→", "->").replace("( ", "(").replace(", )", ")")
        if text:
            level = min(converter.level + converter.api_levels, 6)
            converter.write_heading(level, code_span(text), attributes.get("id") or "")
        return None
    if converter.in_line:
        converter.flush()
        return converter.flush
    converter.begin_line()

    def leave() -> None:
        if text := converter.end_line():
            converter.write_text(text)
            converter.has_term = True

    return leave


def _enter_line(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    """A line of a poem or an address."""
    if node.tag != "div":
        return converter.enter_plain(converter, node, attributes)
    return converter.inline.line_break


# Formulas


def enter_formula(converter: Converter, node: LexborNode, attributes: Attributes) -> Leave | None:
    tex = read_tex(node)
    if not tex:
        mark_scripts(node)
        return (
            converter.nothing
            if node.tag == "math"
            else converter.enter_plain(converter, node, attributes)
        )
    if converter.in_line or not is_display(node):
        converter.inline.formula(" ".join(tex.split()))
        return None
    converter.flush()
    if "$$" in tex:
        converter.write(fence(tex, "math"))
    else:
        converter.write(f"$$\n{tex}\n$$")
    return None


# Layout


_LAYOUTS: Final = frozenset(
    "highlighttable codehilitetable lntable rouge-table hljs-ln genindextable indextable".split()
)
_IN_LAYOUT: Final = "ul, ol, dl, pre, blockquote, h1, h2, h3, h4, h5, h6"
_MAX_TABLES: Final = 4


def is_layout(converter: Converter, node: LexborNode, attributes: Attributes) -> bool:
    """Tell whether a table only places its cells, which are then blocks."""
    parent = node.parent
    around = (parent.attributes.get("class") or "") if parent is not None else ""
    return (
        len(converter.tables) >= _MAX_TABLES
        or not _LAYOUTS.isdisjoint((attributes.get("class") or "").split())
        or attributes.get("role") in ("presentation", "none")
        or "admonitionblock" in around.split()
        or len(node.css("td, th")) < 2
        or len(node.css("table")) - len(node.css(".admonitionblock table")) > 1
        or (node.css_first("th") is None and node.css_first(_IN_LAYOUT) is not None)
    )


_BY_CLASS: Final[Mapping[str, Enter]] = {
    **dict.fromkeys(
        "admonition theme-admonition custom-block starlight-aside markdown-alert admonitionblock "
        "alert callout nextra-callout hextra-callout book-hint hint notices blockquote-tag".split(),
        _enter_admonition,
    ),
    **dict.fromkeys(("topic", "sidebar"), _enter_topic),
    **dict.fromkeys("note tip warning important caution danger info".split(), _enter_note),
    **dict.fromkeys(
        "admonition-title custom-block-title starlight-aside__title markdown-alert-title "
        "blockquote-tag-title alert-heading admonitionHeading_ topic-title sidebar-title "
        "box-label callout-title hint-title rubric card-title sd-card-title".split(),
        _enter_title,
    ),
    "icon": _enter_icon,
    "title": _enter_block_title,
    "description": _enter_description,
    **dict.fromkeys(
        "filename code-block-caption codeBlockTitle_ hextra-code-filename gatsby-code-title "
        "code-title code-block-title".split(),
        _enter_code_title,
    ),
    "header": _enter_frame_header,
    "mermaid": _enter_mermaid,
    "prompt": _enter_prompt,
    "lang": _enter_language,
    **dict.fromkeys("tabs tablist tabbed-labels".split(), _enter_tabs),
    **dict.fromkeys("sd-tab-set tabbed-set book-tabs tabset".split(), _enter_tab_set),
    **dict.fromkeys("tabbed-block tabpanel sphinx-tabs-panel".split(), _enter_panel),
    **dict.fromkeys("footnote-reference footnote-ref footnote-anchor".split(), _enter_reference),
    **dict.fromkeys("footnote footnotes".split(), _enter_footnotes),
    "citation": _enter_citation,
    "line": _enter_line,
    **dict.fromkeys(
        "katex katex-display math arithmatex MathJax MathJax_Display".split(), enter_formula
    ),
    **dict.fromkeys(
        "headerlink MathJax_Preview katex-html linenos linenodiv rouge-gutter".split(),
        _skip,
    ),
}
_BY_ROLE: Final[Mapping[str, Enter]] = {
    "tablist": _enter_tabs,
    "tabpanel": _enter_panel,
    "doc-noteref": _enter_reference,
}
