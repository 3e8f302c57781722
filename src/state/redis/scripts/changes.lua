-- The changes of one part that follow a place.
-- KEYS: head, feed. ARGV: id, parts, format; the place; how many at most; how many bytes are enough.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
local from, most, enough = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if from > told.number then
  return {'ahead', text(told.number)}
end
if from + 1 < told.first then
  return {'forgotten', text(told.first - 1)}
end
local answer = {'ok', told.id, text(told.number)}
local bytes = 0
while most > 0 and bytes < enough do
  local page = redis.call('XRANGE', KEYS[2], text(from + 1) .. '-0', '+', 'COUNT', math.min(16, most))
  if #page == 0 then
    break
  end
  for _, entry in ipairs(page) do
    answer[#answer + 1] = entry
    for _, field in ipairs(entry[2]) do
      bytes = bytes + #field
    end
    from = tonumber(string.match(entry[1], '^%d+'))
    most = most - 1
  end
end
return answer
