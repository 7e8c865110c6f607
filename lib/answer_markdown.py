"""The notes below an answer, for readers who see nothing but Markdown."""

from collections.abc import Iterator, Sequence

from lib.citations import Citation
from lib.events import ChatAnswer, Done
from lib.refusal import list_suggestions
from lib.sanitizer_syntax import markdown_link


def answer_notes(
    ending: Done | ChatAnswer, citations: Sequence[Citation], language: str
) -> Iterator[str]:
    """Write the paragraphs that follow an answer's text: above all its sources.

    Sources are numbered like their markers. `language` is that of the question.
    """
    if ending.finish_reason == "length":
        yield "*The answer was cut at its maximum length.*"
    if citations:
        yield "## Sources"
        yield "\n".join(map(_format_source, citations))
    if ending.suggestions and ending.mode == "generated":  # other refusals list them in their text
        yield list_suggestions(ending.suggestions, language)


def _format_source(citation: Citation) -> str:
    source = citation.source
    place = "" if source.url else f" (`{source.file_path}`)"
    return f"{citation.marker}. {markdown_link(source.title, source.url)}{place}"
