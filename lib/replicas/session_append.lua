-- Append an exchange to a conversation.
--
-- KEYS: the conversation (list), all conversations by last use (sorted set). ARGV: the exchange, the
-- number of exchanges to keep, milliseconds to keep a conversation, the maximum number of them.
-- A retry after a lost reply: already appended.
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
