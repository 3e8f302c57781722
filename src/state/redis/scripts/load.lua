-- Documents of one part, as of one instant.
-- KEYS: head, keys, line, beat, documents. ARGV: id, parts, format; what the caller saw of the part; how long a document's key is without
-- its name; 1 where a majority has to confirm the answer: then something is written behind it, since only what is written is confirmed;
-- how long the key lives that is written (ms). As with a beat only an expiry is moved, which a server that is out of memory still does.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
local other = contradiction(told, KEYS[3], ARGV[4])
if other then
  return other
end
local answer = {'ok', told.id, text(told.number), told.line}
local absent = false
for at = 5, #KEYS do
  local found, lost = document(KEYS[at], KEYS[2], tonumber(ARGV[5]))
  absent = absent or not found
  answer[at] = lost and {lost} or found
end
if absent and unindexed(told, KEYS[2]) then
  return {'damaged', 'its index is gone'}
end
if ARGV[6] == '1' and redis.call('PEXPIRE', KEYS[4], ARGV[7]) == 0 then
  redis.call('SET', KEYS[4], '1', 'PX', ARGV[7])
end
return answer
