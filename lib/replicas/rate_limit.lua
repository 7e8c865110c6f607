-- Take one request from an allowance (generic cell rate algorithm, by Redis's clock).
--
-- KEYS: the time at which the allowance will be full again. ARGV: microseconds in which one request
-- comes back, and microseconds within which the allowance must be full again.
-- Returns: whether the request is allowed, and the microseconds until the allowance is full.
local time = redis.call('TIME')
local now = time[1] * 1e6 + time[2]
local each, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
-- Impossibly long: the clock was set back.
if full_at - now > 2 * period then full_at = now end
if full_at - now > period - each then return {0, full_at - now} end
full_at = full_at + each
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return {1, full_at - now}
