"""Whether the answer of a model says that the book does not answer.

A model that is told to keep to the passages says so in words of its own. They are recognised in the
first sentence alone, and only of the book or the model: an answer that says that an error "is not
mentioned in the log" declines nothing. A first sentence that cites a passage, or an answer that
goes on for long, has answered, whatever it began with.
"""

from typing import Final

import regex

LONGEST: Final = 700
"""Characters of an answer that declines, at the most."""
LONGEST_CITING: Final = 350
"""The same where it cites something: what the passages do cover, say."""

_MARKER: Final = regex.compile(r"\[\d+\](?:\([^)\s]*\))?")
_SENTENCE_END: Final = regex.compile(r"(?<=[.!?])\s|(?<=[。！？।۔؟])|\n\n")
_APOSTROPHES: Final = str.maketrans("’ʼ", "''")

_BOOK: Final = (
    r"\b(?:passages?|book|texts?|excerpts?|context|documents?|documentation|sources?|material|"
    r"handbook|guide|pages?|sections?)(?: provided| given| above| here| you (?:have )?provided)?"
)
_ENGLISH: Final = (
    rf"{_BOOK} (?:do|does|did)(?: not|n't)(?: \w+ly| seem to| appear to)* (?:answer|mention|contain"
    r"|say|state|tell|specify|cover|include|discuss|describe|explain|address|provide|give|have|"
    r"offer|define|list|show|indicate|refer|talk)",
    rf"{_BOOK} (?:offers?|gives?|provides?|contains?|has|have) no(?: \w+)? (?:information|answer|"
    r"mention|details?|passage|explanation)",
    rf"\bno (?:\w+ )?(?:information|mention|answer|details?)\b.{{0,60}}{_BOOK}",
    rf"\bnone of (?:the |these )?(?:\w+ )?{_BOOK}",
    r"\b(?:is|are|was|were)(?: not|n't) (?:\w+ly )?(?:answered|mentioned|contained|stated|"
    r"specified|covered|included|discussed|described|explained|addressed|provided|given|found|"
    rf"available|defined) (?:anywhere )?(?:in|by) (?:the |these |any of the )?(?:\w+ )?{_BOOK}",
    rf"\bcan(?:not|'t| not) be answered (?:from|with|by|using|based on) .{{0,20}}{_BOOK}",
    r"\bi (?:do not|don't|cannot|can't|can not|could not|couldn't|am unable to|'m unable to|am not"
    r" able to|'m not able to) (?:know|answer|find|tell|help|determine)\b",
    r"\bi'm (?:unable|not able) to (?:answer|find|help|determine)\b",
    r"\b(?:not enough|insufficient) (?:information|context)\b",
)
_OTHERS: Final = (
    # what the book is called | what it then does not do | what the model says of itself
    (
        "los pasajes|los fragmentos|el libro|el texto|el contexto",
        r"\bno (?:\w+ )?(?:respond|mencion|contien|dic|incluy|explic|cubr|proporcion|"
        "ofrec|indic|especific|trata|abord)",
        r"\bno (?:lo sé|sé la respuesta|puedo responder|encuentro|encontré|"
        "hay información)",
    ),
    (
        "as passagens|os trechos|o livro|o texto|o contexto",
        r"\bnão (?:\w+ )?(?:respond|mencion|cont|diz|inclu|explic|cobr|fornec|oferec|"
        "indic|trata|abord)",
        r"\bnão (?:sei|posso responder|encontr|há informaç)",
    ),
    (
        "i passaggi|i brani|il libro|il testo|il contesto",
        r"\bnon (?:\w+ )?(?:rispond|menzion|conten|conti|dic|inclu|spieg|copr|forni|offr|"
        "indic|tratta|parla)",
        r"\bnon (?:lo so|so rispondere|posso rispondere|trovo|ho trovato)",
    ),
    (
        "els passatges|els fragments|el llibre|el text",
        r"\bno (?:\w+ )?(?:respon|mencion|conté|conten|diu|diuen|explic|tract)",
        r"\bno (?:ho sé|puc respondre|trobo)",
    ),
    (
        "les passages|les extraits|le livre|le texte|le contexte|le document",
        r"\bn(?:e |')(?:\w+ )?(?:répond|mentionn|conti|di[ts]|inclu|expliqu|couvr|fourni|"
        "offr|indiqu|précis|traite|parle|abord|semble)",
        r"\bje ne (?:sais pas|peux pas répondre|trouve pas)|\baucune information\b",
    ),
    (
        "fragmentele|pasajele|cartea|textul|contextul",
        r"\bnu (?:\w+ )?(?:răspund|menționea|conțin|spun|explic|oferă|trat)",
        r"\bnu (?:știu|pot răspunde|găsesc)",
    ),
    (
        "die abschnitte|die passagen|die textstellen|die auszüge|das buch|der text|"
        "der kontext|dem buch|den passagen|den abschnitten",
        r"\b(?:nicht|keine?n?)\b",
        r"\bich (?:weiß (?:es |das )?nicht|kann (?:das|die frage|diese frage|"
        r"darauf)\b.{0,30}\bnicht)",
    ),
    (
        "de passages|de fragmenten|het boek|de tekst|de context",
        r"\b(?:niet|geen)\b",
        r"\bik (?:weet het niet|kan .{0,30}niet beantwoorden)",
    ),
    (
        "passagerna|avsnitten|boken|texten",
        r"\b(?:inte|inga|inget|ingen)\b",
        r"\bjag (?:vet inte|kan inte svara)",
    ),
    (
        "passagerne|avsnittene|bogen|boken|teksten",
        r"\b(?:ikke|ingen)\b",
        r"\bjeg (?:ved|vet) (?:det )?ikke",
    ),
    (
        "katkelmat|katkelmissa|kirja|kirjassa|teksti|tekstissä",
        r"\b(?:ei|eivät)\b",
        r"\ben (?:tiedä|löydä)",
    ),
    (
        "фрагмент|отрыв|книг|текст|контекст",
        r"\b(?:не (?:отвеча|содерж|упомина|говор|объясня|описыва|да[её]т)|нет (?:ответ|"
        "информац|упомин))",
        r"\bя не (?:знаю|могу ответить|наш[её]л)",
    ),
    (
        "фрагмент|уривк|книг|текст|контекст",
        r"\b(?:не (?:відповіда|міст|згаду|говор|поясню)|нема)",
        r"\bя не (?:знаю|можу відповісти)",
    ),
    (
        "fragmenty|książka|tekst|kontekst",
        r"\bnie (?:odpowiad|zawiera|wspomina|mówi|wyjaśnia|opisuj|podaj)",
        r"\bnie (?:wiem|mogę odpowiedzieć|znajduję)",
    ),
    (
        "pasáže|úryvky|kniha|text|kontext",
        r"\bne(?:odpovíd|obsahuj|zmiňuj|uvád|vysvětl|popisuj)",
        r"\bnevím\b",
    ),
    (
        "a szövegrészek|a könyv|a szöveg",
        r"\bnem (?:válaszol|említ|tartalmaz|ír|mond)",
        r"\bnem (?:tudom|találok)",
    ),
    (
        "pasajlar|kitap|metin|bağlam|bölümler",
        "(?:yanıtlamıyor|cevaplamıyor|içermiyor|bahsetmiyor|yer almıyor|bilgi yok|bulunmuyor)",
        r"\bbilmiyorum\b",
    ),
    (
        "kutipan|bagian|buku|teks|konteks",
        r"\btidak (?:\w+ )?(?:menjawab|memuat|menyebut|berisi|menjelaskan|membahas)",
        r"\bsaya tidak tahu",
    ),
    (
        "đoạn|sách|văn bản|ngữ cảnh",
        r"\bkhông (?:trả lời|đề cập|chứa|nói|có thông tin)",
        r"\btôi không biết",
    ),
    (
        "αποσπάσματα|βιβλίο|κείμενο",
        r"\bδεν (?:απαντ|αναφέρ|περιέχ|εξηγ|λέ)",
        r"\bδεν (?:γνωρίζω|ξέρω)",
    ),
    (
        "المقاطع|الكتاب|النص|السياق|الفقرات",
        r"(?:لا|لم) [تي](?:جيب|ذكر|حتوي|تضمن|شرح|قدم|تناول|جب|شر)",
        "لا أعرف|لا أعلم|لا أستطيع الإجابة",
    ),
    (
        "متن|کتاب|بخش‌ها|قطعه‌ها",
        "پاسخ نمی|نیامده|ذکر نشده|اشاره نمی",
        "نمی‌دانم",
    ),
    (
        "اقتباسات|کتاب|متن|حصوں|حصے",
        "جواب نہیں|ذکر نہیں|معلومات نہیں",
        "مجھے نہیں معلوم",
    ),
    (
        "अंश|पुस्तक|किताब|पाठ|संदर्भ",
        "उत्तर नहीं|जवाब नहीं|उल्लेख नहीं|जानकारी नहीं",
        "मुझे नहीं पता|मुझे पता नहीं",
    ),
    (
        "段落|本书|书中|文中|上下文|文本|资料|原文",
        "(?:没有|并未|未|不)(?:有|能)?(?:直接)?(?:回答|提到|提及|说明|包含|涉及|解释|提供|介绍|相关)",
        "我不知道|无法回答",
    ),
    (
        "本文|本書|この本|文章|抜粋|パッセージ|箇所|資料",
        "ありません|述べられていません|書かれていません|触れられていません|含まれていません|見当たりません|記載されていません",
        "わかりません|分かりません|答えられません",
    ),
    (
        "구절|책|본문|문맥|자료|지문",
        "없습니다|않습니다|나와 있지|않았습니다",
        "모르겠습니다",
    ),
    (
        "ข้อความ|หนังสือ",
        "ไม่ได้(?:กล่าว|ตอบ|ระบุ|อธิบาย)|ไม่มี",
        "ไม่ทราบ",
    ),
)
_DECLINES: Final = regex.compile(
    "|".join(
        [
            *_ENGLISH,
            *(rf"(?:{book}).{{0,60}}?(?:{does_not})|{own}" for book, does_not, own in _OTHERS),
        ]
    ),
    regex.IGNORECASE,
)


def declined(answer: str) -> bool:
    """Whether `answer`, as the reader sees it, says no more than that the book does not tell."""
    text = answer.translate(_APOSTROPHES).strip()
    plain = _MARKER.sub("", text)
    longest = LONGEST if plain == text else LONGEST_CITING
    if len(plain) > longest or "```" in text:
        return False
    first = _SENTENCE_END.split(text, maxsplit=1)[0]
    return not _MARKER.search(first) and bool(_DECLINES.search(first))
