"""GET /admin/gaps"""

from tests.api import Api
from tests.logged import asked, write


async def test_an_unanswered_question_is_a_gap(logging: Api) -> None:
    await write(logging, [asked("Can I rent a kayak?", outcome="refused")])
    (gap,) = (await logging.as_admin("GET", "/admin/gaps")).json()["gaps"]
    assert gap["question"] == "Can I rent a kayak?"
    assert gap["questions"] == 1
