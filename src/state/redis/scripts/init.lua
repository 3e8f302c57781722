-- Makes the head of a part where there is none, or says what is there.
-- KEYS: head, feed, ids, line, keys, due, asks. ARGV: id; parts; format; 'look', 'make' or 'open'.
--
-- All heads are made first and opened afterwards: where one is missing and another open, something was lost, and where
-- none is open the making was interrupted.
local told = redis.call('HMGET', KEYS[1], 'id', 'format', 'parts', 'state', 'epoch', 'number')
if not told[1] then
  for at = 2, #KEYS do
    if redis.call('EXISTS', KEYS[at]) == 1 then
      return {'remains', KEYS[at]}
    end
  end
  if ARGV[4] ~= 'make' then
    return {'none'}
  end
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'format', ARGV[3], 'parts', ARGV[2], 'state', 'new', 'epoch', 0,
    'number', 0, 'line', '', 'first', 1, 'asks', 0)
  return {'made'}
end
if told[1] == ARGV[1] and told[4] == 'new' and ARGV[4] == 'open' then
  redis.call('HSET', KEYS[1], 'state', 'good')
  return {'opened'}
end
return {'there', told[1], told[2] or '', told[3] or '', told[4] or ''}
