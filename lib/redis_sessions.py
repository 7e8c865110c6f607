"""Conversations in Redis, where every replica finds them: `lib.sessions` for several processes."""

from typing import Final
from uuid import uuid4

import msgspec

from lib.errors import RedisUnavailable
from lib.redis_client import RedisClient
from lib.sessions import MAX_EXCHANGES, SESSION_SECONDS, Message, exchange_of

APPEND: Final = """
-- Sent again after a lost answer, it is there already.
if redis.call('LINDEX', KEYS[1], -1) ~= ARGV[1] then
  redis.call('RPUSH', KEYS[1], ARGV[1])
  redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)
end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""

Exchange = tuple[str, tuple[Message, Message]]
"""A name of its own, question and answer."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Exchange).decode


class RedisSessions:
    """Each conversation is a list of its last exchanges. Without Redis, none is known."""

    def __init__(self, redis: RedisClient, *, seconds: float = SESSION_SECONDS) -> None:
        self._redis = redis
        self._milliseconds = round(1000 * seconds)

    def __len__(self) -> int:
        return 0

    async def history(self, session_id: str) -> tuple[Message, ...]:
        try:
            exchanges = await self._redis.items(place(session_id))
            return tuple(message for each in exchanges for message in _decode(each)[1])
        except (RedisUnavailable, msgspec.MsgspecError):
            return ()  # a question can be answered without

    async def remember(self, session_id: str, question: str, answer: str) -> None:
        exchange = _encode((uuid4().hex, exchange_of(question, answer)))
        try:
            await self._redis.run(
                APPEND, [place(session_id)], exchange, MAX_EXCHANGES, self._milliseconds
            )
        except RedisUnavailable:
            return  # the answer is whole all the same


def place(session_id: str) -> str:
    return f"session:{session_id}"
