-- A process that is a gateway ends: nobody who comes after it waits for it. The gateway stays written down.
-- KEYS: head, runs. ARGV: id, parts, format, name, process.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
redis.call('HDEL', KEYS[2], ARGV[5] .. ' ' .. ARGV[4])
return {'ok', told.id}
