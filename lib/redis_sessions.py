"""Conversations in Redis, where every replica finds them: `lib.sessions` for several processes."""

from typing import Final
from uuid import uuid4

import msgspec

from lib.errors import RedisUnavailable
from lib.replicas.client import RedisClient
from lib.sessions import MAX_EXCHANGES, SESSION_SECONDS, Message, exchange_of

MAX_SHARED_SESSIONS: Final = 30_000
"""Some 100 MB. The one used longest ago goes first: whoever invents sessions must not fill what
holds the budget, too."""
LATEST: Final = "sessions"
"""Their keys, by when they were used last (sorted set)."""

APPEND: Final = """
-- Sent again after a lost answer, it is there already.
if redis.call('LINDEX', KEYS[1], -1) ~= ARGV[1] then
  redis.call('RPUSH', KEYS[1], ARGV[1])
  redis.call('LTRIM', KEYS[1], -tonumber(ARGV[2]), -1)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[2], now, KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])
local more = redis.call('ZCARD', KEYS[2]) - ARGV[4]
if more > 0 then
  for _, key in ipairs(redis.call('ZRANGE', KEYS[2], 0, more - 1)) do
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[2], key)
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
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
                APPEND,
                [place(session_id), LATEST],
                exchange,
                MAX_EXCHANGES,
                self._milliseconds,
                MAX_SHARED_SESSIONS,
            )
        except RedisUnavailable:
            return  # the answer is whole all the same


def place(session_id: str) -> str:
    return f"session:{session_id}"
