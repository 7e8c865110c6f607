"""Answer ids: what is accepted, for how long, and by whom."""

import re

import pytest

import lib.feedback
from lib.errors import Conflict, NotFound
from lib.feedback import Feedback, FeedbackRequest, answer_key
from lib.metrics import Metrics
from lib.replicas.client import RedisClient
from tests.clock import Clock
from tests.redis_server import RedisServer

DAY = 24 * 3600


async def vote(feedback: Feedback, answer_id: str) -> None:
    await feedback.vote(FeedbackRequest(answer_id=answer_id, vote="up"), Metrics())


def test_an_id_fits_into_a_url_and_is_never_the_same() -> None:
    feedback = Feedback("key")
    made = {feedback.new_answer_id() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", each) for each in made)


async def test_an_id_is_good_for_one_vote() -> None:
    feedback = Feedback("key")
    one, other = feedback.new_answer_id(), feedback.new_answer_id()
    await vote(feedback, one)
    with pytest.raises(Conflict):
        await vote(feedback, one)
    await vote(feedback, other)


async def test_an_id_expires_after_a_day() -> None:
    clock = Clock()
    clock.now = 1_800_000_000.0
    feedback = Feedback("key", clock=clock)
    one, other = feedback.new_answer_id(), feedback.new_answer_id()
    clock.now += DAY - 1
    await vote(feedback, one)
    clock.now += 1
    for each in (one, other):
        with pytest.raises(NotFound):
            await vote(feedback, each)


async def test_no_id_can_be_made_from_another() -> None:
    feedback = Feedback("")
    answer_id = feedback.new_answer_id()
    for at, own in enumerate(answer_id):
        before, after = answer_id[:at], answer_id[at + 1 :]
        others = {*"AZaz09_-=+/ é"} - {own}
        for forged in (before + after, *(before + other + after for other in others)):
            with pytest.raises(NotFound):
                await vote(feedback, forged)
    for forged in (f"{answer_id}A", f"{answer_id}=", f" {answer_id}", f"{answer_id}\n"):
        with pytest.raises(NotFound):
            await vote(feedback, forged)
    await vote(feedback, answer_id)


@pytest.mark.parametrize("answer_id", ["", "A" * 32, "=" * 32, "A" * 100_000, "\ud800", "\n", "é"])
async def test_an_invented_id_is_unknown(answer_id: str) -> None:
    with pytest.raises(NotFound):
        await vote(Feedback("key"), answer_id)


@pytest.mark.parametrize(("key", "accepted"), [("key", True), ("other", False), ("", False)])
async def test_replicas_with_the_same_key_accept_each_other_s_ids(key: str, accepted: bool) -> None:
    answer_id = Feedback("key").new_answer_id()
    if accepted:
        await vote(Feedback(key), answer_id)
    else:
        with pytest.raises(NotFound):
            await vote(Feedback(key), answer_id)


async def test_without_a_key_every_process_has_its_own_secret() -> None:
    with pytest.raises(NotFound):
        await vote(Feedback(""), Feedback("").new_answer_id())


async def test_the_memory_of_votes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib.feedback, "_MAX_VOTES", 2)
    feedback = Feedback("key")
    ids = [feedback.new_answer_id() for _ in range(3)]
    for each in ids:
        await vote(feedback, each)
    assert len(feedback._voted) == 2
    for each in ids[1:]:
        with pytest.raises(Conflict):
            await vote(feedback, each)


async def test_replicas_share_the_votes(redis: RedisClient) -> None:
    here, there = Feedback("key", redis), Feedback("key", redis)
    ids = [here.new_answer_id() for _ in range(4)]
    for n, each in enumerate(ids):
        await vote((here, there)[n % 2], each)
    for each in ids:
        for replica in (here, there):
            with pytest.raises(Conflict):
                await vote(replica, each)


async def test_the_shared_memory_of_votes_is_bounded(
    redis: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lib.feedback, "_MAX_VOTES", 2)
    feedback = Feedback("key", redis)
    for _ in range(4):
        await vote(feedback, feedback.new_answer_id())
    state = "return {redis.call('ZCARD', KEYS[1]), redis.call('TTL', KEYS[1])}"
    count, seconds = await redis.run(state, ["votes"])
    assert count == 2
    assert DAY - 60 < seconds <= DAY


async def test_without_redis_each_replica_counts_for_itself(redis_server: RedisServer) -> None:
    gone = RedisClient("redis://127.0.0.1:1", "quire")
    feedback = Feedback("key", gone)
    answer_id = feedback.new_answer_id()
    await vote(feedback, answer_id)
    with pytest.raises(Conflict):
        await vote(feedback, answer_id)
    await gone.close()


def test_the_key_of_an_answer_tells_nothing_that_a_vote_needs() -> None:
    feedback = Feedback("key")
    keys = [answer_key(feedback.new_answer_id()) for _ in range(1_000)]
    assert len(set(keys)) == 1_000
    assert {key < 0 for key in keys} == {True, False}
    assert all(-(2**63) <= key < 2**63 for key in keys)
    assert answer_key("A" * 32) == 0
