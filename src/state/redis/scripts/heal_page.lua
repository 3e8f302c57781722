-- Documents of one part, as of one place; of a sound part whose history a gateway knows, or of whatever there is.
-- KEYS: head, line, keys, documents. ARGV: id, parts, format; how long a document's key is without its name; the epoch, or '' where
-- that plays no part; a place and the line there.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
local place = tonumber(ARGV[6])
local proved = place == 0 or (place <= told.number and line_at(told, KEYS[2], place) == ARGV[7])
if ARGV[5] ~= '' and (told.state ~= 'good' or text(told.epoch) ~= ARGV[5] or not proved) then
  return {'ok', told.id, 'moved'}
end
local answer = {'ok', told.id, 'done', text(told.number), told.line}
for at = 4, #KEYS do
  local found, lost = document(KEYS[at], KEYS[3], tonumber(ARGV[4]))
  answer[#answer + 1] = lost and {lost} or found
end
return answer
