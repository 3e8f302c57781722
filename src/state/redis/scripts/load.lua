-- Documents of one part, as of one instant.
-- KEYS: head, keys, line, documents. ARGV: id, parts, format; what the caller saw of the part; how long a document's key is without
-- its name; 1 where a majority has to confirm the answer: then something is written behind it, since only what is written is confirmed.
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
for at = 4, #KEYS do
  local found, lost = document(KEYS[at], KEYS[2], tonumber(ARGV[5]))
  absent = absent or not found
  answer[at + 1] = lost and {lost} or found
end
if absent and unindexed(told, KEYS[2]) then
  return {'damaged', 'its index is gone'}
end
if ARGV[6] == '1' then
  redis.call('HINCRBY', KEYS[1], 'asks', 1)
end
return answer
