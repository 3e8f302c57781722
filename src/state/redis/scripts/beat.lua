-- What a beat asks of one part: its head, and the line at the place that the gateway has followed to.
-- One part of each server also writes, so that a majority has something to confirm. Only an expiry is moved, which a
-- server that is out of memory still does; nothing hangs on the key, and it comes back when it is gone.
-- KEYS: head, line, beat. ARGV: place followed to, whether to write, how long the key lives (ms).
local head = redis.call('HMGET', KEYS[1], 'id', 'epoch', 'number', 'line', 'state')
local line = ''
if ARGV[1] ~= '0' then
  if head[3] == ARGV[1] then
    line = head[4]
  else
    local row = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[1], ARGV[1])[1]
    line = row and string.match(row, '^%S+ (%S+)') or false
  end
end
if ARGV[2] == '1' and redis.call('PEXPIRE', KEYS[3], ARGV[3]) == 0 then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[3])
end
return {head[1], head[2], head[3], head[4], head[5], line}
