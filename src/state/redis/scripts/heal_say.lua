-- Writes down that all that a gateway knows is in the part.
-- KEYS: head, feed, ids, line, keys, due, asks, heal. ARGV: id, parts, format; the gateway; under what, and what that says; the cursor that
-- proves it, or ''; else a place and the line there that do; whether it misses nothing; the highest epoch and place that it saw; whom to wait for;
-- the name of the place that is taken where it saw a higher one.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
if not under(told, KEYS[8], ARGV[5], ARGV[6]) then
  return {'ok', told.id, 'moved'}
end
local proved
if ARGV[7] ~= '' then
  proved = redis.call('HGET', KEYS[8], 'a:' .. ARGV[4]) == ARGV[7]
else
  local place = tonumber(ARGV[8])
  proved = place == 0 or (place <= told.number and line_at(told, KEYS[4], place) == ARGV[9])
end
if not proved then
  return {'ok', told.id, 'moved'}
end
take_part(told, KEYS[8], tonumber(ARGV[11]), ARGV[13])
if told.state == 'suspect' then
  redis.call('HSET', KEYS[8], 'j:' .. ARGV[4], ARGV[10])
else
  redis.call('HDEL', KEYS[8], 'a:' .. ARGV[4])
end
local seen = tonumber(ARGV[12])
if told.number < seen then
  advance(told, KEYS, seen, ARGV[14], 0, nothing)
end
return {'ok', told.id, 'done', text(told.number), told.line}
