-- Take the only vote on an answer.
--
-- KEYS: answers with a vote (sorted set by time). ARGV: the answer, the time in seconds, seconds to
-- keep a vote, the maximum number of votes.
-- Returns: 1 if this is the first vote, else 0.
if redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[1]) == 0 then
  -- A retry after a lost reply has the same time.
  return tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) == tonumber(ARGV[2]) and 1 or 0
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2] - ARGV[3])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
