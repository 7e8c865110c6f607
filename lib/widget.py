"""What the widget shows of the book before the first question."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from lib.contents import PublishedContents, book_language, book_title
from lib.errors import QuireError
from lib.questions import Starters
from lib.settings import Settings
from lib.sites.quire import PAGES
from lib.store import Store

_CONTENTS_SECONDS: Final = 1.0
_STARTERS_SECONDS: Final = 2.0
_NO_LANGUAGE: Final = "en"


class WidgetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the widget shows of the book before the first question."""

    title: Annotated[str, msgspec.Meta(description="Title of the book; empty if unknown.")]
    language: Annotated[str, msgspec.Meta(description="Language code of the book.")]
    questions: Annotated[
        list[str], msgspec.Meta(description="Questions to offer; none while there is no index.")
    ]
    local_pages: Annotated[
        str | None,
        msgspec.Meta(
            description="Addresses that begin with this path are pages of this server; null if "
            "there are none."
        ),
    ]


async def describe_book(
    settings: Settings, store: Store, contents: PublishedContents, starters: Starters
) -> WidgetConfig:
    """Describe the published book; a store that cannot be reached counts as empty."""
    try:
        manifest = await store.manifest()
        found = await contents.get(_CONTENTS_SECONDS)
    except QuireError:
        manifest = found = None
    if manifest is None:
        return WidgetConfig(
            title=settings.book_title, language=_NO_LANGUAGE, questions=[], local_pages=None
        )
    questions: Sequence[str] = settings.starter_questions
    if found and not questions:
        questions = await starters.of(found, _STARTERS_SECONDS)
    return WidgetConfig(
        title=book_title(settings, manifest, found),
        language=book_language(manifest, found),
        questions=list(questions),
        local_pages=PAGES if manifest.has_local_pages else None,
    )
