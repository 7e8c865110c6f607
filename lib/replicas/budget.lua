-- The budget that replicas share: state, reserve or settle, in one step.
--
-- KEYS: total (hash: the day, what it has cost and what is reserved), readers (hash: tokens of each
-- reader, spent or reserved), open (sorted set: unsettled reservations by the time they lapse).
-- ARGV: time in seconds (empty: Redis's clock), seconds to keep the keys, the caller's last known
-- day, tokens, reserved tokens, nano-dollars, reserved nano-dollars, then the operation and its
-- arguments.
-- Returns: whether it was granted, those five values now, and the number of refusals.
local total, readers, open = KEYS[1], KEYS[2], KEYS[3]
local now, keep = tonumber(ARGV[1]) or tonumber(redis.call('TIME')[1]), ARGV[2]
local today = math.floor(now / 86400)
local day = tonumber(redis.call('HGET', total, 'day') or 0)
local function minus(amount) return string.format('%.0f', 0 - amount) end
local function of(name) return tonumber(redis.call('HGET', total, name) or 0) end
-- A clock that is set back must not start another day's budget.
local begun = today > day
if begun then
  day = today
  redis.call('DEL', total, readers, open)
  redis.call('HSET', total, 'day', day)
end
if tonumber(ARGV[3]) == day then
  for n, name in ipairs({'tokens', 'nano'}) do
    local spent, reserved = tonumber(ARGV[2 + 2 * n]), tonumber(ARGV[3 + 2 * n])
    -- Within a day spending only grows, so a caller that knows more knows what Redis has lost.
    -- Lost reservations count as spent.
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
local function state_with(granted)
  for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, keep) end
  local state = redis.call('HMGET', total,
    'day', 'tokens', 'reserved_tokens', 'nano', 'reserved_nano', 'refused')
  for n, value in ipairs(state) do state[n] = tonumber(value or 0) end
  table.insert(state, 1, granted)
  return state
end
local operation = ARGV[8]

if operation == 'reserve' then
  local entry, lapse, tokens, nano, reader = ARGV[9], ARGV[10], ARGV[11], ARGV[12], ARGV[13]
  local limits = {tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16])}
  -- A retry after a lost reply: already reserved.
  if redis.call('ZSCORE', open, entry) then return state_with(1) end
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
    return state_with(0)
  end
  redis.call('HINCRBY', total, 'reserved_tokens', tokens)
  redis.call('HINCRBY', total, 'reserved_nano', nano)
  redis.call('ZADD', open, now + lapse, entry)
  if limits[3] > 0 then
    if not taken and redis.call('HLEN', readers) >= tonumber(ARGV[17]) then
      redis.call('HDEL', readers, redis.call('HRANDFIELD', readers))
    end
    redis.call('HINCRBY', readers, reader, tokens)
  end
elseif operation == 'settle' then
  local entry, tokens, nano, reader = ARGV[9], ARGV[10], ARGV[11], ARGV[12]
  -- Otherwise it is of yesterday, lapsed or a retry, and counted already.
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
end
return state_with(1)
