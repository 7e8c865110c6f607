from benchmarks.retrieval_measures import fitting, judge, overlap
from lib.golden import GoldPlace, Question
from tests.passages import passage_at


def question(*answer: tuple[GoldPlace, ...]) -> Question:
    return Question("When does the tide turn?", answer)


def test_an_answer_in_two_parts() -> None:
    asked = question(
        (GoldPlace("a.md", 0, 10),),
        (GoldPlace("b.md", 0, 10), GoldPlace("c.md", 50, 60)),
    )
    elsewhere = [passage_at("d.md", n, n + 10) for n in range(4)]
    found = [
        passage_at("x.md", 0, 10),
        passage_at("c.md", 40, 60),
        *elsewhere,
        passage_at("a.md", 0, 10),
    ]
    judged = judge(asked, found, budget=79)
    assert judged.ranks == (7, 2)
    assert judged.measures == {
        "recall@5": 0.5,
        "recall@10": 1.0,
        "MRR@10": 0.5,
        "recall in budget": 0.5,
        "IoU@5": 10 / (10 + 20 + 12 + 10),
    }
    assert judge(asked, found, budget=80).measures["recall in budget"] == 1


def test_no_passages_or_no_answer() -> None:
    asked = question((GoldPlace("a.md", 0, 10),))
    assert judge(asked, [], 4000).ranks == (None,)
    assert set(judge(asked, [], 4000).measures.values()) == {0.0}
    assert judge(question(), [passage_at("a.md", 0, 10)], 4000).measures == {}
    late = [passage_at("x.md", n, n + 9) for n in range(10)] + [passage_at("a.md", 0, 10)]
    assert judge(asked, late, 4000).measures["MRR@10"] == 0


def test_whole_files_have_no_iou() -> None:
    asked = question((GoldPlace("a.md", 0, 10, whole=True),))
    assert "IoU@5" not in judge(asked, [passage_at("a.md", 9, 20)], 4000).measures


def test_budget_counts_whole_passages() -> None:
    found = [passage_at("a.md", 0, 50), passage_at("a.md", 60, 160), passage_at("a.md", 200, 201)]
    assert [fitting(found, budget) for budget in (49, 50, 149, 150, 151)] == [0, 1, 1, 2, 3]


def test_characters_are_counted_once() -> None:
    answer = ((GoldPlace("a.md", 0, 10),), (GoldPlace("a.md", 5, 15),))
    found = [passage_at("a.md", 0, 10), passage_at("a.md", 0, 20)]
    assert overlap(answer, found) == 15 / 20
