"""GET /widget/config.json"""

from pathlib import Path

import pytest

from tests.api import Api, serving
from tests.conftest import MakeSettings
from tests.tiny_book import SITE

PATH = "/widget/config.json"


async def test_the_widget_learns_about_the_book(api: Api) -> None:
    answer = await api.get(PATH)
    assert answer.status == 200
    config = answer.json()
    assert config["title"] == "The harbour handbook"
    assert config["language"] == "en"
    assert config["local_pages"] is None


async def test_settings_come_first(make_settings: MakeSettings) -> None:
    settings = make_settings(book_title="Harbour", starter_questions=("When is it open?",))
    async with serving(settings) as api:
        config = (await api.get(PATH)).json()
        assert config["title"] == "Harbour"
        assert config["questions"] == ["When is it open?"]


@pytest.mark.parametrize("title", ["", "Harbour"])
async def test_without_an_index_there_is_at_most_a_title(
    make_settings: MakeSettings, tmp_path: Path, title: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    settings = make_settings(
        qdrant_path=tmp_path / "index",
        book_content_path=empty,
        book_title=title,
        starter_questions=("When is it open?",),
    )
    async with serving(settings) as api:
        answer = await api.get(PATH)
        assert answer.status == 200
        assert answer.json() == {
            "title": title,
            "language": "en",
            "questions": [],
            "local_pages": None,
        }


async def test_an_unchanged_answer_is_not_sent_again(api: Api) -> None:
    first = await api.get(PATH)
    assert first.headers["Cache-Control"] == "no-cache"
    headers = {"If-None-Match": first.headers["ETag"], "Origin": SITE}
    again = await api.get(PATH, headers=headers)
    assert again.status == 304
    assert again.content == b""
    assert again.headers["Access-Control-Allow-Origin"] == SITE
    assert (await api.get(PATH, headers={"If-None-Match": '"other"'})).status == 200


async def test_it_spends_no_quota(api: Api) -> None:
    for _ in range(30):
        assert (await api.get(PATH)).status == 200
    assert (await api.ask("tide")).status == 200
