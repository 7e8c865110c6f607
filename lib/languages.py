"""What a reader is told whose question the book does not answer, by language.

Names of languages are those of `lib.languages.asked_in`.

The small words that tell a follow-up question, by language.

*Opening* words lead a question on from what was said before ("and", "so", "what about"); *pointing*
words stand for something that was named before ("it", "those", "the second one"). Names of
languages are those of `lib.terms.LANGUAGES`, and a few that have no stemmer there.

The language of a question, which is too short for `lib.terms.language_of`.

That one wants to be sure, since a whole page is stemmed by it. Here a guess is better than none:
the language that has most of the words among its small ones, where there is no script that tells.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import regex

from lib.terms import ENGLISH, LANGUAGES, may_be_in, stop_words


@dataclass(frozen=True, slots=True)
class Words:
    opening: frozenset[str]
    pointing: frozenset[str]
    small: frozenset[str]
    """Others that mean little by themselves, where `lib.terms.stop_words` does not have them."""


def _words(opening: str, pointing: str, small: str = "") -> Words:
    return Words(frozenset(opening.split()), frozenset(pointing.split()), frozenset(small.split()))


BY_LANGUAGE: Final = {
    "arabic": _words(
        "و ف لكن ثم أو إذن", "هذا هذه ذلك تلك عنه عنها فيه فيها به بها له لها منه منها"
    ),
    "catalan": _words(
        "i però doncs o també sí", "això allò aquest aquesta aquests aquestes ell ella ells"
    ),
    "czech": _words(
        "a ale tak takže nebo také ano", "to ten ta tento tato ono oni jeho její jejich"
    ),
    "danish": _words("og men så eller også ja", "det den de dette denne disse deres dens dets"),
    "dutch": _words(
        "en maar dus dan of ook ja", "dit deze die het hij zij hun ervan daarvan daarmee"
    ),
    "english": _words(
        "and but so then or also ok okay yes yeah no sure please more again",
        "it its that this these those they them their he him his she her one ones such same "
        "other others else instead former latter above more again too",
        "much many often everything anything something nothing way thing things kind lot get let",
    ),
    "finnish": _words("ja mutta entä tai myös joo", "se sen sitä siitä ne niitä niiden tämä tämän"),
    "french": _words(
        "et mais alors donc ou aussi oui",
        "cela ça ce cette ces celui celle ceux celles il elle ils elles lui leur y en",
    ),
    "german": _words(
        "und aber also dann oder auch ja nein",
        "das dies diese dieser dieses diesen es er sie ihn ihm ihr ihre sein seine davon dazu "
        "damit dafür dabei daran darauf",
    ),
    "greek": _words("και αλλά ή επίσης ναι", "αυτό αυτός αυτή αυτά αυτοί αυτές"),
    "hindi": _words(
        "और लेकिन तो फिर या", "यह वह ये वे इस उस इसे उसे इसका इसके इसकी उसका उसके उसकी इनके उनके"
    ),
    "hungarian": _words("és de akkor vagy is igen", "ez az ezt azt ezek azok ennek annak"),
    "indonesian": _words("dan tapi lalu atau juga ya", "itu ini dia mereka tersebut"),
    "italian": _words(
        "e ma allora quindi o anche sì",
        "questo questa questi queste quello quella quelli ciò lui lei loro suo sua",
    ),
    "norwegian": _words("og men så eller også ja", "det den de dette denne disse deres dens dets"),
    "persian": _words("و اما ولی پس یا", "این آن آنها اینها"),
    "polish": _words(
        "a ale i więc czyli lub też tak", "to ten ta te tego tej tym on ona ono jego jej ich"
    ),
    "portuguese": _words(
        "e mas então ou também sim",
        "isso isto esse essa esses essas este esta estes estas ele ela eles elas",
    ),
    "romanian": _words(
        "și dar deci atunci sau da", "asta acesta aceasta acestea acela el ea ei ele"
    ),
    "russian": _words(
        "и а но тогда или также да", "это этот эта эти этого этой он она оно они его её их ему им"
    ),
    "spanish": _words(
        "y e pero entonces o también sí",
        "eso esto ese esa esos esas este esta estos estas él ella ellos ellas su sus lo",
    ),
    "swedish": _words("och men så eller också ja", "det den de detta denna dessa deras dess"),
    "turkish": _words("ve peki ama ya veya evet", "bu şu o bunlar onlar bunu onu bunun onun"),
    "urdu": _words(
        "اور لیکن تو پھر یا",
        "یہ وہ اس ان اسے انہیں",
        "کیا ہے ہیں کا کی کے کو سے میں پر لیے نے کون کیسے کیوں",
    ),
    "vietnamese": _words(
        "và nhưng vậy hoặc còn", "nó đó này chúng", "là gì có không thế nào của cho làm sao tại"
    ),
}
"""Single words, in lower case."""

OPENINGS: Final = (
    "what about",
    "how about",
    "what if",
    "why not",
    "tell me more",
    "go on",
    "et si",
    "qué tal",
    "e se",
    "e como",
    "was ist mit",
    "wie wäre",
    "o zaman",
    "那",
    "那么",
    "还有",
    "では",
    "じゃあ",
    "それで",
    "でも",
    "그럼",
    "그리고",
    "그런데",
    "แล้ว",
)
"""Beginnings of questions, whatever the language."""

UNSPACED_POINTING: Final = tuple(
    "它 这 那 其 呢 これ それ あれ この その あの 그것 이것 그거 มัน นี้ นั้น".split()
)
"""Of the languages that are written without spaces."""

NOT_IN_BOOK: Final = {
    "arabic": "يبدو أن الكتاب لا يجيب عن هذا السؤال.",
    "catalan": "Sembla que el llibre no respon aquesta pregunta.",
    "chinese": "本书似乎没有回答这个问题。",
    "czech": "Zdá se, že kniha na tuto otázku neodpovídá.",
    "danish": "Bogen ser ikke ud til at besvare dette.",
    "dutch": "Het boek lijkt hier geen antwoord op te geven.",
    "english": "The book does not seem to answer this.",
    "finnish": "Kirja ei näytä vastaavan tähän.",
    "french": "Le livre ne semble pas répondre à cette question.",
    "german": "Das Buch scheint darauf keine Antwort zu geben.",
    "greek": "Το βιβλίο δεν φαίνεται να απαντά σε αυτό.",
    "hindi": "लगता है कि इस पुस्तक में इसका उत्तर नहीं है।",
    "hungarian": "Úgy tűnik, a könyv erre nem ad választ.",
    "indonesian": "Buku ini tampaknya tidak menjawab pertanyaan ini.",
    "italian": "Sembra che il libro non risponda a questa domanda.",
    "japanese": "この本にはその答えが見当たりません。",
    "korean": "이 책에는 이 질문에 대한 답이 없는 것 같습니다.",
    "norwegian": "Boken ser ikke ut til å svare på dette.",
    "persian": "به نظر می‌رسد کتاب به این پرسش پاسخ نمی‌دهد.",
    "polish": "Wygląda na to, że książka na to nie odpowiada.",
    "portuguese": "O livro não parece responder a esta pergunta.",
    "romanian": "Cartea nu pare să răspundă la această întrebare.",
    "russian": "Похоже, книга не отвечает на этот вопрос.",
    "spanish": "Parece que el libro no responde a esta pregunta.",
    "swedish": "Boken verkar inte svara på detta.",
    "thai": "ดูเหมือนว่าหนังสือเล่มนี้ไม่มีคำตอบสำหรับคำถามนี้",
    "turkish": "Kitap bu soruyu yanıtlamıyor gibi görünüyor.",
    "ukrainian": "Схоже, книга не відповідає на це запитання.",
    "urdu": "لگتا ہے کہ کتاب میں اس کا جواب نہیں ہے۔",
    "vietnamese": "Có vẻ cuốn sách không trả lời câu hỏi này.",
}

NEAREST: Final = {
    "arabic": "أقرب الصفحات إليه:",
    "catalan": "Aquestes pàgines són les més properes:",
    "chinese": "最接近的页面是：",
    "czech": "Nejblíže jsou tyto stránky:",
    "danish": "Disse sider kommer tættest på:",
    "dutch": "Deze pagina's komen het dichtst in de buurt:",
    "english": "These pages come closest:",
    "finnish": "Nämä sivut ovat lähimpänä:",
    "french": "Ces pages s'en approchent le plus :",
    "german": "Diese Seiten kommen ihm am nächsten:",
    "greek": "Αυτές οι σελίδες είναι οι πιο κοντινές:",
    "hindi": "ये पृष्ठ सबसे निकट हैं:",
    "hungarian": "Ezek az oldalak állnak hozzá a legközelebb:",
    "indonesian": "Halaman-halaman ini yang paling mendekati:",
    "italian": "Queste pagine ci si avvicinano di più:",
    "japanese": "最も近いページ:",
    "korean": "가장 가까운 페이지:",
    "norwegian": "Disse sidene kommer nærmest:",
    "persian": "این صفحه‌ها به آن نزدیک‌ترند:",
    "polish": "Najbliższe są te strony:",
    "portuguese": "Estas páginas são as mais próximas:",
    "romanian": "Aceste pagini sunt cele mai apropiate:",
    "russian": "Ближе всего эти страницы:",
    "spanish": "Estas páginas son las más cercanas:",
    "swedish": "De här sidorna kommer närmast:",
    "thai": "หน้าที่ใกล้เคียงที่สุด:",
    "turkish": "En yakın sayfalar şunlar:",
    "ukrainian": "Найближчі сторінки:",
    "urdu": "یہ صفحات سب سے قریب ہیں:",
    "vietnamese": "Những trang gần nhất:",
}

ASK: Final = {
    "arabic": "اسألني شيئًا عن هذا الكتاب.",
    "catalan": "Pregunta'm alguna cosa sobre aquest llibre.",
    "chinese": "请问我关于这本书的问题。",
    "czech": "Zeptejte se mě na něco z této knihy.",
    "danish": "Spørg mig om noget i denne bog.",
    "dutch": "Vraag me iets over dit boek.",
    "english": "Ask me something about this book.",
    "finnish": "Kysy minulta jotain tästä kirjasta.",
    "french": "Posez-moi une question sur ce livre.",
    "german": "Frag mich etwas zu diesem Buch.",
    "greek": "Ρωτήστε με κάτι για αυτό το βιβλίο.",
    "hindi": "मुझसे इस पुस्तक के बारे में कुछ पूछें।",
    "hungarian": "Kérdezzen valamit erről a könyvről.",
    "indonesian": "Tanyakan sesuatu tentang buku ini.",
    "italian": "Fammi una domanda su questo libro.",
    "japanese": "この本について質問してください。",
    "korean": "이 책에 대해 질문해 주세요.",
    "norwegian": "Spør meg om noe i denne boken.",
    "persian": "درباره این کتاب چیزی از من بپرسید.",
    "polish": "Zapytaj mnie o coś z tej książki.",
    "portuguese": "Pergunte-me algo sobre este livro.",
    "romanian": "Întreabă-mă ceva despre această carte.",
    "russian": "Спросите меня о чём-нибудь из этой книги.",
    "spanish": "Pregúntame algo sobre este libro.",
    "swedish": "Fråga mig något om den här boken.",
    "thai": "ถามฉันเกี่ยวกับหนังสือเล่มนี้ได้เลย",
    "turkish": "Bana bu kitap hakkında bir şey sorun.",
    "ukrainian": "Запитайте мене щось про цю книгу.",
    "urdu": "مجھ سے اس کتاب کے بارے میں کچھ پوچھیں۔",
    "vietnamese": "Hãy hỏi tôi điều gì đó về cuốn sách này.",
}
"""In answer to a greeting or thanks."""

SMALL_TALK: Final = frozenset(
    phrase.strip()
    for phrase in """
    hello | hi | hey | hi there | hello there | hey there | good morning | good evening | bye
    | goodbye | thanks | thank you | thank you very much | thanks a lot | many thanks | thx | lol
    | who are you | what are you | what is your name | what's your name | are you a human
    | are you human | are you a bot | how are you | hi how are you | what can you do
    | great | cool | nice | perfect | got it | ok thanks | okay thanks | test
    | can you help me | help me | tell me a joke | i love you | you are wrong
    | hola | buenos días | gracias | muchas gracias | adiós | quién eres | cómo estás
    | bonjour | salut | merci | merci beaucoup | au revoir | qui es-tu | qui êtes-vous | ça va
    | hallo | guten tag | guten morgen | danke | vielen dank | tschüss | wer bist du
    | wie geht's | hallo wie geht's
    | ciao | buongiorno | grazie | chi sei | come stai
    | olá | oi | bom dia | obrigado | obrigada | quem é você | tudo bem | olá tudo bem
    | hoi | dank je | dank u | bedankt | wie ben je | hej | tack | tak | takk | moi | kiitos
    | ahoj | děkuji | cześć | dzień dobry | dziękuję | dzięki | szia | köszönöm | mulțumesc
    | привет | здравствуйте | спасибо | кто ты | как дела | привіт | дякую
    | merhaba | selam | teşekkürler | teşekkür ederim | sen kimsin
    | مرحبا | السلام عليكم | شكرا | شكراً | من أنت | سلام | ممنون | متشکرم | شکریہ | آپ کون ہیں
    | नमस्ते | धन्यवाद | आप कौन हैं | halo | terima kasih | xin chào | cảm ơn | สวัสดี | ขอบคุณ
    | γεια | γεια σου | ευχαριστώ | 你好 | 您好 | 谢谢 | 你是谁 | こんにちは | ありがとう
    | ありがとうございます | あなたは誰ですか | 안녕하세요 | 안녕 | 감사합니다 | 고마워요
    """.replace("\n", " ").split("|")
)
"""Whole questions, in lower case and without punctuation, that are about no book."""

_WORD: Final = regex.compile(r"[\w--_]+(?:['’][\w--_]+)*", regex.V1)
_UNSPACED: Final = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
)
_BY_SCRIPT: Final = (
    ("japanese", regex.compile(r"[\p{Hiragana}\p{Katakana}]")),
    ("chinese", regex.compile(r"\p{Han}")),
    ("korean", regex.compile(r"\p{Hangul}")),
    ("thai", regex.compile(r"\p{Thai}")),
    ("greek", regex.compile(r"\p{Greek}{3}")),
    ("hindi", regex.compile(r"\p{Devanagari}")),
    ("ukrainian", regex.compile(r"[іїєґІЇЄҐ]")),
    ("russian", regex.compile(r"\p{Cyrillic}")),
    ("urdu", regex.compile(r"[ٹڈڑںےہ]")),
)
_ARABIC: Final = regex.compile(r"\p{Arabic}")


def words_of(text: str) -> list[str]:
    return [word.casefold().replace("’", "'") for word in _WORD.findall(text)]


def load() -> None:
    """Make the tables, which takes some 15 ms, before a question needs them."""
    is_foreign("the", (ENGLISH,))


def spoken(words: Sequence[str]) -> str:
    """The language that has most of `words` among its small ones; English where it has as many."""
    counts = Counter(language for word in words for language in _speakers().get(word, ()))
    most = max(counts.values(), default=0)
    if counts[ENGLISH] == most:
        return ENGLISH
    return next(language for language in BY_LANGUAGE if counts[language] == most)


@functools.cache
def _speakers() -> dict[str, list[str]]:
    """The languages of every small word."""
    speakers: dict[str, list[str]] = {}
    for language in BY_LANGUAGE:
        for word in small_words(language):
            speakers.setdefault(word, []).append(language)
    return speakers


def asked_in(text: str) -> str:
    """The language of a question by its script, else by its words."""
    for language, script in _BY_SCRIPT:
        if script.search(text):
            return language
    found = spoken(words_of(text))
    if _ARABIC.search(text) and found not in ("persian", "urdu"):
        return "arabic"
    return found


def is_foreign(text: str, languages: Sequence[str]) -> bool:
    """Whether a question seems to be in another language than all of the book's."""
    return not may_be_in(text, languages) or spoken(words_of(text)) not in languages


@functools.cache
def small_words(language: str) -> frozenset[str]:
    """The words of a language that mean little by themselves; none for one that is not known."""
    if language not in BY_LANGUAGE:
        return frozenset()
    known = BY_LANGUAGE[language]
    listed = stop_words(language) if language in LANGUAGES.values() else frozenset()
    return known.opening | known.pointing | known.small | listed


def meaning_of(word: str, language: str) -> float:
    """1 for a word that means something by itself, else 0. Of a script without spaces, two
    characters count as a word."""
    if _UNSPACED.match(word):
        return len(word) / 2
    if word in small_words(language) or word.endswith("n't"):
        return 0.0
    parts = [part for part in word.split("'") if len(part) > 1]
    return float(any(part not in small_words(language) for part in parts))
