-- Take, renew or release the ingestion lease. Repeating an operation does no harm.
--
-- KEYS: the lease. ARGV: the operation, the holder's token, milliseconds to hold it.
-- Returns: 1 if the caller holds (or held) the lease, else 0.
local operation, token = ARGV[1], ARGV[2]
local holder = redis.call('GET', KEYS[1])
if operation == 'take' and not holder then
  redis.call('SET', KEYS[1], token, 'PX', ARGV[3])
  return 1
end
if holder ~= token then return 0 end
if operation == 'release' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
