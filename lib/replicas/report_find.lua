-- Find an ingestion's report by task id, or the latest one.
--
-- KEYS: the latest task's id, the prefix of reports. ARGV: the task's id, or empty.
local id = ARGV[1]
if id == '' then id = redis.call('GET', KEYS[1]) end
return id and redis.call('GET', KEYS[2] .. id)
