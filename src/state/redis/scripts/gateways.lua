-- Writes down a gateway, as seen now; answers all that were ever written down, with the store's time of each.
-- KEYS: head, gateways. ARGV: id, parts, format, name, address.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
local time = redis.call('TIME')
redis.call('HSET', KEYS[2], ARGV[4], time[1] .. string.sub(string.format('%06d', time[2]), 1, 3) .. ' ' .. ARGV[5])
return {'ok', told.id, redis.call('HGETALL', KEYS[2])}
