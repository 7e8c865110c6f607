"""What Redis does to the budget in one step, as scripts in Lua.

::

    budget            the day, what it has cost and what is reserved (hash)
    budget:readers    what each reader has taken of it, reserved or spent (hash)
    budget:open       reservations that nobody has settled, by when they lapse (sorted set)

Each is given the time (empty: Redis's own), for how many seconds the keys are kept, and what this
replica was told last: the day, tokens, reserved tokens, billionths, reserved billionths; then what
is its own. Each answers whether it was granted, then those five as they are now, and how many were
refused.
"""

from typing import Final

KEYS: Final = ("budget", "budget:readers", "budget:open")

BEGIN: Final = """
local total, readers, open = KEYS[1], KEYS[2], KEYS[3]
local now, keep = tonumber(ARGV[1]) or tonumber(redis.call('TIME')[1]), ARGV[2]
local today = math.floor(now / 86400)
local day = tonumber(redis.call('HGET', total, 'day') or 0)
local function minus(amount) return string.format('%.0f', 0 - amount) end
local function of(name) return tonumber(redis.call('HGET', total, name) or 0) end
-- Not on a clock that is set back: each time would be a budget more.
local begun = today > day
if begun then
  day = today
  redis.call('DEL', total, readers, open)
  redis.call('HSET', total, 'day', day)
end
if tonumber(ARGV[3]) == day then
  for n, name in ipairs({'tokens', 'nano'}) do
    local spent, reserved = tonumber(ARGV[2 + 2 * n]), tonumber(ARGV[3 + 2 * n])
    -- Within a day this only grows: who was told of more was told what Redis has lost. What was
    -- reserved besides is taken for spent.
    local lost = spent + reserved - of(name) - of('reserved_' .. name)
    if (begun or spent > of(name)) and lost > 0 then
      redis.call('HINCRBY', total, name, string.format('%.0f', lost))
    end
  end
end
local lapsed = redis.call('ZRANGE', open, '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)
for _, each in ipairs(lapsed) do
  local tokens, nano = string.match(each, ' (%d+) (%d+)$')
  redis.call('ZREM', open, each)
  redis.call('HINCRBY', total, 'tokens', tokens)
  redis.call('HINCRBY', total, 'reserved_tokens', minus(tokens))
  redis.call('HINCRBY', total, 'nano', nano)
  redis.call('HINCRBY', total, 'reserved_nano', minus(nano))
end
local function told(granted)
  for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, keep) end
  local state = redis.call('HMGET', total,
    'day', 'tokens', 'reserved_tokens', 'nano', 'reserved_nano', 'refused')
  for n, value in ipairs(state) do state[n] = tonumber(value or 0) end
  table.insert(state, 1, granted)
  return state
end
"""
STATE: Final = BEGIN + "return told(1)"
RESERVE: Final = (
    BEGIN
    + """
local entry, lapse, tokens, nano, reader = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local limits = {tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])}
-- Asked again after a lost answer, it has it already.
if redis.call('ZSCORE', open, entry) then return told(1) end
local function exceeds(limit, more, ...)
  local sum = tonumber(more)
  for _, name in ipairs({...}) do sum = sum + of(name) end
  return limit > 0 and sum > limit
end
local taken = limits[3] > 0 and redis.call('HGET', readers, reader)
if exceeds(limits[1], tokens, 'tokens', 'reserved_tokens')
  or exceeds(limits[2], nano, 'nano', 'reserved_nano')
  or exceeds(limits[3], tokens + tonumber(taken or 0))
then
  redis.call('HINCRBY', total, 'refused', 1)
  return told(0)
end
redis.call('HINCRBY', total, 'reserved_tokens', tokens)
redis.call('HINCRBY', total, 'reserved_nano', nano)
redis.call('ZADD', open, now + lapse, entry)
if limits[3] > 0 then
  if not taken and redis.call('HLEN', readers) >= tonumber(ARGV[16]) then
    redis.call('HDEL', readers, redis.call('HRANDFIELD', readers))
  end
  redis.call('HINCRBY', readers, reader, tokens)
end
return told(1)
"""
)
SETTLE: Final = (
    BEGIN
    + """
local entry, tokens, nano, reader = ARGV[8], ARGV[9], ARGV[10], ARGV[11]
-- Of yesterday, lapsed, or told again after a lost answer: it is counted already.
if redis.call('ZREM', open, entry) == 1 then
  local held_tokens, held_nano = string.match(entry, ' (%d+) (%d+)$')
  redis.call('HINCRBY', total, 'tokens', tokens)
  redis.call('HINCRBY', total, 'reserved_tokens', minus(held_tokens))
  redis.call('HINCRBY', total, 'nano', nano)
  redis.call('HINCRBY', total, 'reserved_nano', minus(held_nano))
  if redis.call('HEXISTS', readers, reader) == 1 then
    redis.call('HINCRBY', readers, reader, string.format('%.0f', tokens - held_tokens))
  end
end
return told(1)
"""
)
