"""Answer ids, and one vote of a reader on each answer."""

import hmac
import re
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from functools import lru_cache
from hashlib import scrypt
from typing import Annotated, Final, Literal

import msgspec
from cachetools import TTLCache

from lib.errors import Conflict, NotFound, RedisUnavailable
from lib.metrics import Metrics
from lib.replicas.client import RedisClient, take_vote

_MAX_AGE_SECONDS: Final = 24 * 3600
_MAX_VOTES: Final = 50_000
"""About 10 MB. The oldest are forgotten first."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{32}")
_TIME_BYTES: Final = 4
_RANDOM_BYTES: Final = 8
_TAG_BYTES: Final = 12
_MAX_NOTE_CHARACTERS: Final = 1_000


class FeedbackRequest(msgspec.Struct, kw_only=True):
    """A reader's vote on an answer."""

    answer_id: Annotated[str, msgspec.Meta(description="The `answer_id` of the answer.")]
    vote: Literal["up", "down"]
    reason: Literal["wrong", "incomplete", "unclear", "source", "other"] | None = None
    note: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=_MAX_NOTE_CHARACTERS,
                description="The reader's own words. Kept only if the author keeps a question log.",
            ),
        ]
        | None
    ) = None


class FeedbackAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The vote was counted."""

    counted: Literal[True] = True


class Feedback:
    """Make answer ids, and count the votes on them.

    An id is the time, random bytes and their HMAC, so nothing has to be remembered until there is a
    vote. Replicas with the same admin key accept each other's ids. With Redis they share the votes.
    """

    def __init__(
        self,
        admin_key: str,
        redis: RedisClient | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without an admin key, only this process accepts its ids."""
        self._secret = _derive_secret(admin_key) if admin_key else secrets.token_bytes(32)
        self._redis = redis
        self._clock = clock
        self._voted: TTLCache[str, None] = TTLCache(_MAX_VOTES, _MAX_AGE_SECONDS, timer=clock)

    def new_answer_id(self) -> str:
        """An id of 32 characters that can be sent in a URL."""
        issued = int(self._clock()).to_bytes(_TIME_BYTES)
        message = issued + secrets.token_bytes(_RANDOM_BYTES)
        return urlsafe_b64encode(message + self._tag(message)).decode()

    async def vote(self, request: FeedbackRequest, metrics: Metrics) -> None:
        """Count a vote. Raises `NotFound`, and `Conflict` for a second vote on the same answer."""
        answer_id = request.answer_id
        if not self._is_valid(answer_id):
            raise NotFound("This answer is unknown, or older than a day.")
        if answer_id in self._voted or not await self._is_first(answer_id):
            raise Conflict("This answer has been voted on.")
        metrics.count_vote(request.vote, request.reason or "none")

    def _is_valid(self, answer_id: str) -> bool:
        if not _ID.fullmatch(answer_id):
            return False
        decoded = urlsafe_b64decode(answer_id)
        message, tag = decoded[:-_TAG_BYTES], decoded[-_TAG_BYTES:]
        issued = int.from_bytes(message[:_TIME_BYTES])
        return hmac.compare_digest(tag, self._tag(message)) and (
            self._clock() - issued < _MAX_AGE_SECONDS
        )

    def _tag(self, message: bytes) -> bytes:
        return hmac.digest(self._secret, message, "sha256")[:_TAG_BYTES]

    async def _is_first(self, answer_id: str) -> bool:
        """Take the answer's only vote. Without Redis, each replica counts for itself."""
        self._voted[answer_id] = None
        if self._redis is None:
            return True
        try:
            return await take_vote(self._redis, answer_id, _MAX_AGE_SECONDS, _MAX_VOTES)
        except RedisUnavailable:
            return True


def answer_key(answer_id: str) -> int:
    """The random part of an answer id as a signed 64-bit integer.

    The id cannot be derived from it.
    """
    random = urlsafe_b64decode(answer_id)[_TIME_BYTES : _TIME_BYTES + _RANDOM_BYTES]
    return int.from_bytes(random, signed=True)


@lru_cache(maxsize=2)
def _derive_secret(admin_key: str) -> bytes:
    """Derive a secret with scrypt, which takes a tenth of a second and 16 MB.

    Every reader sees ids. With a fast hash, they could be used to guess a short admin key offline.
    """
    return scrypt(admin_key.encode(), salt=b"quire answer id", n=2**14, r=8, p=1, dklen=32)
