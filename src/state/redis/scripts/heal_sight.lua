-- What a gateway sees of a part.
-- KEYS: head, line, heal. ARGV: '', parts, format; a place; the gateway.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'none'}
end
local told, refused = head(KEYS[1])
if refused then
  return refused
end
return {
  'ok', told.id, redis.call('HGET', KEYS[1], 'was') or '', text(told.epoch), text(told.number), told.line,
  told.state, line_at(told, KEYS[2], tonumber(ARGV[4])), redis.call('HGET', KEYS[3], 'a:' .. ARGV[5]) or '',
  redis.call('HGETALL', KEYS[3]),
}
