import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.tokens import estimate_tokens

# the larger of the published cl100k_base and o200k_base counts
COUNTED = [
    (
        "en",
        "Readers ask a static book, and every claim in the answer links to the heading it "
        "stands under. The chunks are cut from the syntax tree.",
        30,
    ),
    (
        "code",
        "def read(path: Path) -> str:\n    if not path.is_file():\n        raise ValueError(path)\n"
        '    return path.read_text("utf-8").replace("\\r\\n", "\\n")\n',
        40,
    ),
    ("zh", "读者可以向一本静态的书提问，答案中的每个论断都链接到它所在的标题。", 33),
    ("ja", "読者は静的な本に質問でき、答えの各主張はその見出しにリンクされています。", 37),
    ("ko", "독자는 정적인 책에 질문할 수 있으며 모든 주장은 제목에 연결됩니다.", 33),
    ("ar", "يمكن للقراء طرح الأسئلة على الكتاب، وكل ادعاء في الإجابة يرتبط بالعنوان.", 52),
    ("hi", "पाठक किताब से सवाल पूछ सकते हैं और उत्तर का हर दावा शीर्षक से जुड़ा होता है।", 73),
    ("ru", "Читатели задают вопросы книге, и каждое утверждение ведёт к заголовку.", 34),
    ("th", "ผู้อ่านสามารถถามหนังสือได้ และทุกคำตอบจะเชื่อมโยงไปยังหัวข้อ", 56),
    ("de", "Leser befragen ein statisches Buch, und jede Aussage führt zu ihrer Überschrift.", 22),
    ("digits", "3.14159265358979 2718281828 1618033988749 0123456789", 23),
    ("emoji", "👩‍🚀🎉🔥🚀📚🐍", 23),
]


@pytest.mark.parametrize(
    ("text", "count"), [row[1:] for row in COUNTED], ids=[r[0] for r in COUNTED]
)
def test_never_far_under_nor_absurdly_over(text: str, count: int) -> None:
    assert 0.85 * count <= estimate_tokens(text) <= 1.6 * count


def test_only_an_empty_text_has_no_tokens() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("\n") == 1


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_string_has_an_estimate_that_repeating_it_multiplies(text: str) -> None:
    once, tenfold = estimate_tokens(text), estimate_tokens((text + " ") * 10)
    assert 0 <= once <= 1 + 4 * len(text)
    assert tenfold <= 10 * (once + 2)


def test_a_rule_or_a_table_border_is_not_counted_by_its_characters() -> None:
    assert estimate_tokens("-" * 400) < 60
