-- Counts what is tried under a name within a span, by the server's clock.
-- KEYS: head, the count. ARGV: id, parts, format; the span in milliseconds; how many may count at once; what is to be
-- counted, or ''; then what does not count any more.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
for at = 7, #ARGV do
  redis.call('ZREM', KEYS[2], ARGV[at])
end
if ARGV[6] == '' then
  return {'ok', told.id, 'counted'}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local span, most = tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', text(now - span))
if redis.call('ZSCORE', KEYS[2], ARGV[6]) then
  return {'ok', told.id, 'counted'}
end
local count = redis.call('ZCARD', KEYS[2])
if count >= most then
  local row = redis.call('ZRANGE', KEYS[2], count - most, count - most, 'WITHSCORES')
  return {'ok', told.id, 'full', text(tonumber(row[2]) + span - now)}
end
redis.call('ZADD', KEYS[2], text(now), ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {'ok', told.id, 'counted'}
