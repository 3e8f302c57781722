-- What a beat asks of one part: its head, and the lines at the places as of which the gateway knows something of it.
-- One part of each server also writes, so that a majority has something to confirm. Only an expiry is moved, which a
-- server that is out of memory still does; nothing hangs on the key, and it comes back when it is gone.
-- KEYS: head, line, beat. ARGV: the places, whether to write, how long the key lives (ms).
local head = redis.call('HMGET', KEYS[1], 'id', 'epoch', 'number', 'line', 'state', 'format')
local lines = {}
for place in string.gmatch(ARGV[1], '%d+') do
  local line = ''
  if head[3] == place then
    line = head[4]
  elseif place ~= '0' then
    local row = redis.call('ZRANGEBYSCORE', KEYS[2], place, place, 'LIMIT', 0, 1)[1]
    line = row and string.match(row, '^%S+ (%S+)') or false
  end
  lines[#lines + 1] = line
end
if ARGV[2] == '1' and redis.call('PEXPIRE', KEYS[3], ARGV[3]) == 0 then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[3])
end
return {head[1], head[2], head[3], head[4], head[5], head[6], lines}
