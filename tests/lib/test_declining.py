import pytest

from lib.declining import LONGEST, declined

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
    assert declined(answer)
    assert declined(f"{answer}\n")


@pytest.mark.parametrize("answer", ANSWERING)
def test_an_answer_that_answers(answer: str) -> None:
    assert not declined(answer)


def test_who_goes_on_has_answered() -> None:
    more = "Word after word follows here. "
    assert declined("The passages do not answer this. " + more * 3)
    assert not declined("The passages do not answer this. " + more * (LONGEST // len(more) + 1))
    assert not declined("The passages do not answer this, but try:\n\n```sh\nmake run\n```")


def test_only_the_first_sentence_counts() -> None:
    assert not declined("Use `make run`. The passages do not mention other ways.")
    assert not declined("")
