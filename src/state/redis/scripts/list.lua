-- The names of documents of one part, in their order.
-- KEYS: head, keys. ARGV: id, parts, format; from where and to where, as Redis writes it; how many at most.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
if unindexed(told, KEYS[2]) then
  return {'damaged', 'its index is gone'}
end
local names = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[4], ARGV[5], 'LIMIT', 0, ARGV[6])
return {'ok', told.id, names}
