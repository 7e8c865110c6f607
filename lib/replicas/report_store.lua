-- Store an ingestion's report, and mark its task as the latest.
--
-- KEYS: the latest task's id, the report. ARGV: the task's id, the report, seconds to keep both.
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
