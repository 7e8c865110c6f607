import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.embedding import Similarity
from lib.languages import languages, question_language
from lib.ranking import Passage, parse_query
from lib.refusal import (
    _MAX_REFUSAL_CHARACTERS,
    _MAX_SUGGESTIONS,
    _MIN_COMPARED_HITS,
    AnswerabilitySignals,
    Suggestion,
    answerability_margin,
    answerability_signals,
    is_refusal,
    make_refusal,
    questions_of_chunk,
    refusal_shift,
    small_talk_reply,
    suggest_places,
)
from lib.store import Candidates, Hit
from lib.terms import CEILING, SparseVector, term_number
from tests.stores import chunk, make_manifest

SIMILARITY = Similarity(unrelated=0.1, answering=0.5)
ANSWERED = AnswerabilitySignals(
    coverage=0.5, known=1.0, terms=4, nearest=0.9, lead=0.4, foreign=False
)
OFF_TOPIC = AnswerabilitySignals(
    coverage=0.1, known=0.4, terms=4, nearest=0.1, lead=0.1, foreign=False
)


def is_answerable(of: AnswerabilitySignals) -> bool:
    return answerability_margin(of) >= 0


def without_vectors(of: AnswerabilitySignals) -> AnswerabilitySignals:
    return replace(of, nearest=None, lead=0.0)


def test_what_the_book_answers_is_told_from_what_it_does_not() -> None:
    assert is_answerable(ANSWERED)
    assert not is_answerable(OFF_TOPIC)
    assert is_answerable(without_vectors(ANSWERED))
    assert not is_answerable(without_vectors(OFF_TOPIC))


def test_a_question_in_the_readers_own_words_gets_the_benefit_of_the_doubt() -> None:
    assert is_answerable(replace(ANSWERED, coverage=0.15, nearest=0.7, lead=0.2))


def test_words_are_not_asked_of_another_language() -> None:
    foreign = replace(ANSWERED, coverage=0.0, known=0.1, nearest=0.8, lead=0.25, foreign=True)
    assert is_answerable(foreign)
    assert not is_answerable(replace(foreign, nearest=0.2, lead=0.05))
    # A name is written the same in both languages.
    assert is_answerable(replace(ANSWERED, foreign=True))
    # Without vectors, a foreign question cannot be judged.
    assert is_answerable(without_vectors(replace(foreign, known=0.0)))


def test_a_book_s_shift_raises_the_threshold() -> None:
    margin = answerability_margin(ANSWERED)
    assert answerability_margin(ANSWERED, 2.0) == pytest.approx(margin - 2.0)
    for other in (without_vectors(ANSWERED), replace(OFF_TOPIC, nearest=1.0, foreign=True)):
        assert -2 < answerability_margin(other, 2.0) - answerability_margin(other) < 0


def test_the_shift_keeps_the_questions_that_a_book_certainly_answers() -> None:
    assert refusal_shift([5.0] * 40) == 1.7
    assert refusal_shift([1.0] * 10 + [5.0] * 30) == 0.6
    assert refusal_shift([-9.0, *[1.5] * 19]) == 0.9
    assert refusal_shift([-1.0] * 3) == 0.0


def test_questions_are_made_from_headings_and_sentences() -> None:
    made = chunk(1, text="## Locks\n\nIt is so. The harbour opens its gates at noon.")
    heading = made.sections[0].heading
    assert questions_of_chunk(made, "english") == [heading, "harbour gates noon"]
    assert questions_of_chunk(chunk(1, text="```\nx = 1\n```"), "english") == [heading]
    made = chunk(1, text="机器人使用传感器，保持身体平衡，避免摔倒。")
    assert questions_of_chunk(made, "chinese") == [heading, "机器人使 保持身体 避免摔倒"]


shares = st.floats(0, 1)


@given(
    st.builds(
        AnswerabilitySignals,
        coverage=shares,
        known=shares,
        terms=st.integers(1, 50),
        nearest=st.none() | shares,
        lead=shares,
        foreign=st.booleans(),
    ),
    st.sampled_from(["coverage", "known", "nearest", "lead"]),
    shares,
)
def test_more_of_anything_never_counts_against_a_question(
    of: AnswerabilitySignals, field: str, more: float
) -> None:
    value = getattr(of, field)
    if value is not None:
        assert answerability_margin(replace(of, **{field: value + more})) >= answerability_margin(
            of
        )


RARITY = {1: 3.0, 2: 1.0}
CHUNKS = 100
BOOK = make_manifest("g", CHUNKS)
MISSING = math.log(100.5 / 0.5 + 1)


def measured(
    *hits: Hit,
    terms: SparseVector,
    similarity: Similarity | None = SIMILARITY,
    question: str = "How does the compiler work?",
) -> AnswerabilitySignals:
    found = Candidates(hits, {each: RARITY[each] for each in terms.indices if each in RARITY})
    return answerability_signals(parse_query(question), [terms], found, BOOK, similarity)


def test_the_evidence() -> None:
    terms = SparseVector([1, 2, 3], [1.0] * 3)
    hits = (Hit(chunk(1), 0.5, CEILING * 2.0), Hit(chunk(2), 0.3, CEILING * 1.0))
    found = measured(*hits, terms=terms)
    assert found.known == pytest.approx(4.0 / (4.0 + MISSING))
    assert found.coverage == pytest.approx(2.0 / (4.0 + MISSING))
    assert found.terms == 3
    assert found.nearest == pytest.approx(1.0)
    others = [0.3] + [SIMILARITY.unrelated] * (_MIN_COMPARED_HITS - 2)
    assert found.lead == pytest.approx((0.5 - (0.5 + sum(others)) / _MIN_COMPARED_HITS) / 0.4)
    assert not found.foreign
    alone = measured(*hits, terms=terms, similarity=None)
    assert alone == replace(found, nearest=None, lead=0.0)


def test_a_word_of_little_meaning_that_the_book_lacks_does_not_count() -> None:
    hit = Hit(chunk(1), 0.5, CEILING * 2.0)
    plain = measured(hit, terms=SparseVector([1, 2], [1.0] * 2))
    for word, little in (("long", True), ("pizza", False)):
        vector = SparseVector([1, 2, term_number(word)], [1.0] * 3)
        found = measured(hit, terms=vector, question=f"How {word} is it?")
        assert (found == plain) is little


def test_the_best_of_many_is_compared_with_them_alone() -> None:
    cosines = [0.5, *[0.3] * (_MIN_COMPARED_HITS - 1)]
    hits = (Hit(chunk(n), cosine, 0.0) for n, cosine in enumerate(cosines))
    found = measured(*hits, terms=SparseVector([1], [1.0]))
    assert found.lead == pytest.approx(
        (0.5 - (0.5 + 0.3 * (_MIN_COMPARED_HITS - 1)) / _MIN_COMPARED_HITS) / 0.4
    )


def test_the_only_page_of_a_book_stands_out_from_what_is_unrelated() -> None:
    ask = "¿Cada cuánto cambia la marea?"
    terms = SparseVector([7, 8], [1.0] * 2)
    near, far = (
        measured(Hit(chunk(1), cosine, 0.0), terms=terms, question=ask) for cosine in (0.25, 0.02)
    )
    assert is_answerable(near)
    assert far.lead == 0.0
    assert not is_answerable(far)


def test_no_hits_are_not_answerable() -> None:
    terms = SparseVector([7, 8], [1.0] * 2)
    for similarity in (SIMILARITY, None):
        found = measured(terms=terms, similarity=similarity)
        assert (found.coverage, found.known, found.lead) == (0.0, 0.0, 0.0)
        assert not is_answerable(found)


def test_the_evidence_means_the_same_for_every_embedding_model() -> None:
    terms = SparseVector([1, 2], [1.0] * 2)
    other = Similarity(unrelated=0.75, answering=0.88)
    cosines = (0.45, 0.3, 0.12)
    scale = (other.answering - other.unrelated) / (SIMILARITY.answering - SIMILARITY.unrelated)
    there = [other.unrelated + (each - SIMILARITY.unrelated) * scale for each in cosines]
    one = measured(*(Hit(chunk(n), c, 1.0) for n, c in enumerate(cosines)), terms=terms)
    two = measured(
        *(Hit(chunk(n), c, 1.0) for n, c in enumerate(there)), terms=terms, similarity=other
    )
    assert answerability_margin(one) == pytest.approx(answerability_margin(two))


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("How do I bake bread?", "english"),
        ("xyzzy", "english"),
        ("¿Cómo se prepara una paella?", "spanish"),
        ("Comment faire une tarte aux pommes ?", "french"),
        ("Wie backe ich einen Apfelkuchen?", "german"),
        ("Come si cucina il risotto?", "italian"),
        ("Как приготовить борщ?", "russian"),
        ("Як приготувати їжу?", "ukrainian"),
        ("東京でおすすめの店は？", "japanese"),
        ("怎么做红烧肉？", "chinese"),
        ("김치찌개는 어떻게 만드나요?", "korean"),
        ("كيف أطبخ الأرز؟", "arabic"),
        ("بریانی کیسے بنائی جاتی ہے؟", "urdu"),
        ("बिरयानी कैसे बनाते हैं?", "hindi"),
        ("ทำข้าวผัดอย่างไร", "thai"),
    ],
)
def test_a_reader_is_told_in_the_language_of_the_question(question: str, language: str) -> None:
    assert question_language(question) == language


def passage(
    number: int,
    chapter: str = "Setup",
    heading: str = "Run it",
    url: str | None = "https://b.ex/a#r",
) -> Passage:
    return Passage(
        chunk_id=str(number),
        text="Text",
        file_path="a.md",
        chapter=chapter,
        section="",
        heading=heading,
        url=url,
        start_char=0,
        end_char=4,
        score=0.2,
    )


def test_the_nearest_places_come_once_each() -> None:
    found = suggest_places(
        [
            passage(1),
            passage(2),
            passage(3, heading="Setup", url="https://b.ex/a"),
            passage(4, chapter="", heading="", url=None),
            passage(5, heading="Stop it"),
        ]
    )
    assert found == [
        Suggestion("Setup > Run it", "https://b.ex/a#r"),
        Suggestion("Setup", "https://b.ex/a"),
        Suggestion("a.md", None),
    ]
    assert len(found) == _MAX_SUGGESTIONS


def test_what_a_reader_sees() -> None:
    near = [passage(1, heading="Use [it]", url="https://b.ex/a (1)#r"), passage(2, url="/a")]
    assert make_refusal("english", near).markdown() == (
        "The book does not seem to answer this. These pages come closest:\n\n"
        "- [Setup > Use \\[it\\]](https://b.ex/a%20%281%29#r)\n"
        "- Setup > Run it"
    )
    alone = "The book does not seem to answer this."
    assert make_refusal("english", []).markdown() == alone
    said = make_refusal("german", near)
    assert (said.sentence, said.lead) == (
        languages()["german"].not_in_book,
        "Diese Seiten kommen ihm am nächsten:",
    )


@pytest.mark.parametrize(
    ("question", "likely", "language", "thanks"),
    [
        ("Hello!", [], "english", False),
        ("Hi there, who are you?", [], "english", False),
        ("What’s your name?", [], "english", False),
        ("Hi", ["german", "english"], "german", False),
        ("thanks", ["german"], "english", True),
        ("Thanks! Bye!", [], "english", True),
        ("¿Quién eres?", ["english"], "spanish", False),
        ("Hola", ["catalan", "spanish"], "catalan", False),
        ("Tak", ["english", "danish"], "danish", True),
        ("你好！谢谢", [], "chinese", False),
    ],
)
def test_small_talk_gets_its_own_reply(
    question: str, likely: list[str], language: str, thanks: bool
) -> None:
    spoken = languages()[language]
    said = small_talk_reply(question, likely)
    assert said == (spoken.welcome if thanks else spoken.ask_me)


@pytest.mark.parametrize(
    "question", ["hello world", "What does hello print?", "", "?!", "Who are you in?", "testing"]
)
def test_a_question_is_no_small_talk(question: str) -> None:
    assert small_talk_reply(question) is None


DECLINING = [
    "The passages do not answer this question.",
    "The book doesn't mention prices. It covers the hardware [1](https://x.y/z#a) and the set-up [2](https://x.y/z).",
    "I don't know.",
    "I'm sorry, but I cannot find this in the passages.",
    "The provided passages do not explicitly mention the Honda ASIMO.",
    "There is no information about sourdough bread in the provided text.",
    "Sorry, the price is not mentioned in the passages.",
    "None of the passages cover this.",
    "This cannot be answered from the passages given.",
    "The given context does not seem to contain an answer.",
    "Los pasajes no responden a esta pregunta.",
    "Das Buch sagt dazu nichts, die Passagen beantworten die Frage nicht.",
    "Les passages ne répondent pas à cette question.",
    "Le livre n'explique pas cela.",
    "I passaggi non rispondono alla domanda.",
    "As passagens não respondem à pergunta.",
    "De passages geven hier geen antwoord op.",
    "Отрывки не отвечают на этот вопрос.",
    "这些段落没有回答这个问题。",
    "本書にはその答えは書かれていません。",
    "이 책에는 그 내용이 없습니다.",
    "المقاطع لا تجيب عن هذا السؤال.",
    "दिए गए अंशों में इसका उत्तर नहीं है।",
    "ان اقتباسات میں اس کا جواب نہیں ہے۔",
    "Kitap bu soruyu yanıtlamıyor.",
    "Fragmenty nie odpowiadają na to pytanie.",
]
ANSWERING = [
    "Call `drop` from `std::mem` [1](https://x.y/z#a).",
    "The method does not answer until the lock is released [1](https://x.y/#a).",
    "The passages do not say when, but the lock is released by drop [1]. It is free then.",
    "The error is not mentioned in the log [2](https://x/y).",
    "No.",
    "Yes, it is thread safe [1].",
    "The book says that `String` does not support indexing [1].",
    "You cannot index into a String [1]. The book does not say more.",
    "An index that holds no book cannot be searched [1].",
    "Use `--test-threads=1` so that tests do not run in parallel [1].",
    "Das Buch sagt, dass `Rc<T>` nicht threadsicher ist [1](https://x/y).",
    "El texto no se copia [1].",
    "Rust does not have null [1](https://x/y).",
    "Tokens are not provided by default [1].",
    "The source does not contain `main` [1].",
]


@pytest.mark.parametrize("answer", DECLINING)
def test_an_answer_that_declines(answer: str) -> None:
    assert is_refusal(answer)
    assert is_refusal(f"{answer}\n")


@pytest.mark.parametrize("answer", ANSWERING)
def test_an_answer_that_answers(answer: str) -> None:
    assert not is_refusal(answer)


def test_who_goes_on_has_answered() -> None:
    more = "Word after word follows here. "
    assert is_refusal("The passages do not answer this. " + more * 3)
    assert not is_refusal(
        "The passages do not answer this. " + more * (_MAX_REFUSAL_CHARACTERS // len(more) + 1)
    )
    assert not is_refusal("The passages do not answer this, but try:\n\n```sh\nmake run\n```")


def test_only_the_first_sentence_counts() -> None:
    assert not is_refusal("Use `make run`. The passages do not mention other ways.")
    assert not is_refusal("")
