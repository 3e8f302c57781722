-- Calls a part suspect, or makes the head of a lost one, suspect.
-- KEYS: head, feed, ids, line, keys, due, asks, heal. ARGV: '', parts, format; the epoch of the head that is expected, or
-- 'none'; the store's id; the highest epoch and place that were seen; whom to wait for; the name of the healing.
local told, refused
local lost = redis.call('EXISTS', KEYS[1]) == 0
local epoch, number = tonumber(ARGV[6]), tonumber(ARGV[7])
if lost then
  if ARGV[4] ~= 'none' then
    return {'moved'}
  end
  told = {id = ARGV[5], epoch = epoch, number = number, line = '', state = 'suspect', first = number + 1}
  redis.call('DEL', KEYS[2], KEYS[4])
  redis.call('HSET', KEYS[1], 'id', told.id, 'format', ARGV[3], 'parts', ARGV[2], 'state', 'suspect', 'epoch', text(epoch),
    'number', text(number), 'line', '', 'first', text(number + 1), 'asks', 0)
else
  told, refused = head(KEYS[1])
  if refused then
    return refused
  end
  if told.state ~= 'good' or text(told.epoch) ~= ARGV[4] then
    return {'moved'}
  end
  redis.call('HSET', KEYS[1], 'state', 'suspect')
end
redis.call('DEL', KEYS[8])
advance(told, KEYS, number, ARGV[9], 0, nothing)
redis.call('HSET', KEYS[8], 'round', ARGV[9], 'coming', text(math.max(told.epoch, epoch) + 1), 'lost', lost and 1 or 0,
  'progress', 0)
for gateway in string.gmatch(ARGV[8], '[^\n]+') do
  redis.call('HSET', KEYS[8], 'w:' .. gateway, 1)
end
return {'ok', told.id, 'done'}
