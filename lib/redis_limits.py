"""A reader's allowance in Redis, taken from by every replica.

The generic cell rate algorithm: kept is when the allowance will be whole again, by Redis's clock.
"""

from typing import Final

from lib.replicas.client import RedisClient

TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
local each, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
-- No allowance takes so long: the clock was set back, and nobody is to wait for that.
if whole - now > 2 * period then whole = now end
if whole - now > period - each then return {0, whole - now} end
whole = whole + each
redis.call('SET', KEYS[1], string.format('%.0f', whole), 'PX', math.ceil((whole - now) / 1000))
return {1, whole - now}
"""


async def take(redis: RedisClient, key: str, each: float, period: float) -> tuple[bool, float]:
    """Take one request, whose allowance comes back in `each` seconds, where it leaves `key` whole
    again within `period`: whether it did, and in how many seconds it will be whole.

    Raises `lib.errors.RedisUnavailable`.
    """
    taken, left = await redis.run(TAKE, [f"limit:{key}"], round(each * 1e6), round(period * 1e6))
    return bool(taken), left / 1e6
