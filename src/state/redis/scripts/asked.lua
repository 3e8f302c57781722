-- Whether a change was made. Whoever is told that it was not is right from then on: a commit of it that is still under
-- way, on whatever connection, is refused when it comes. Only one that is made after the answer has the ticket.
-- KEYS: head, ids, asks, line. ARGV: id, parts, format; what the caller saw of the part; the change; how many questions are
-- remembered.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
local other = contradiction(told, KEYS[4], ARGV[4])
if other then
  return other
end
local place = redis.call('HGET', KEYS[2], ARGV[5])
if not place and told.state ~= 'good' then
  return {'suspect', ''}
end
redis.call('ZCARD', KEYS[3])
local ticket = text(redis.call('HINCRBY', KEYS[1], 'asks', 1))
if place then
  return {'ok', told.id, 'made', place, line_at(told, KEYS[4], tonumber(place))}
end
redis.call('ZADD', KEYS[3], ticket, ARGV[5])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[6]))
return {'ok', told.id, 'none', ticket}
