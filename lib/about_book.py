"""Questions about the book as a whole: "What is this book about?", "Summarise the docs".

No passage has their words, yet a reader asks nothing more often; the book's own opening answers.
"""

from typing import Final

import regex

OPENINGS: Final = (
    "index",
    "readme",
    "intro",
    "introduction",
    "preface",
    "foreword",
    "overview",
    "about",
    "welcome",
    "home",
)
"""What the file is called that says what a book is about; the likeliest first."""

_BOOKS: Final = (
    "book|handbook|documentation|docs?|guide|manual|tutorial|course|site|website|text"
    "|libro|manual|documentación|guía|curso|sitio"
    "|livre|documentation|manuel|guide|cours|site"
    "|buch|handbuch|dokumentation|anleitung|leitfaden|kurs"
    "|libro|manuale|documentazione|guida|corso|sito"
    "|livro|manual|documentação|guia|curso"
    "|книга|книге|книги|книгу|документация|руководство"
    "|किताब|पुस्तक|کتاب|الكتاب"
)
_ASKS: Final = (
    r"about|summar\w+|overview|outline|contents|cover(?:s|ed)?|topics|chapters|purpose|for|learn"
    r"|trata|resum\w+|temas|capítulos"
    r"|parle|résum\w+|sujets|chapitres"
    r"|geht|handelt|worum|fasse|zusammen\w*|themen|kapitel|inhalt"
    r"|parla|riassum\w+|argomenti|capitoli"
    r"|fala|resum\w+|tópicos"
    r"|чём|чем|содержание|темы|кратко"
    r"|बारे|सारांश|بارے|خلاصہ|عن|يتحدث|ملخص|موضوع"
)
_PLAIN: Final = (
    "what|which|who|whom|is|are|does|do|the|this|that|a|an|of|in|to|me|tell|give|please|can|could"
    "|you|i|will|would|from|be|it|its|whole|entire|short|brief|main|and|here|should|read|why"
    "|de|qué|que|este|esta|el|la|los|las|en|sobre|se|del|un|una|haz|dame"
    "|quoi|ce|cette|le|les|du|des|est|sont|me|fais|moi|quels|quelles"
    "|um|was|es|in|dem|der|die|das|diesem|dieses|diese|dieser|mir|bitte|ist|sind|welche|geht's"
    "|di|cosa|questo|questa|il|lo|gli|che|quali"
    "|sobre|o|os|as|é|esse|essa|deste|quais"
    "|о|об|эта|этой|эту|какие|что|в"
    "|यह|इस|किस|में|है|का|की|क्या|के|یہ|اس|کس|میں|ہے|کا|کی|کیا|کے|ما|هذا|هو|عم|ماذا|في"
)
_WORD: Final = regex.compile(r"[\p{L}\p{M}']+")
_IS_BOOK, _IS_ASKED, _IS_PLAIN = (
    regex.compile(each, regex.IGNORECASE) for each in (_BOOKS, _ASKS, _PLAIN)
)


def is_about_the_book(question: str) -> bool:
    """Whether a question asks for the book as a whole, and for nothing in it."""
    words = [word.casefold() for word in _WORD.findall(question)]
    rest = [word for word in words if not _IS_PLAIN.fullmatch(word)]
    books = [word for word in rest if _IS_BOOK.fullmatch(word)]
    asked = [word for word in rest if _IS_ASKED.fullmatch(word)]
    return bool(books) and bool(asked) and set(rest) == {*books, *asked}
