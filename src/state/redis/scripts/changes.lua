-- The changes of one part that follow a place.
-- KEYS: head, feed, line. ARGV: id, parts, format; what the caller saw at the place; the place; how many at most; how many bytes
-- are enough.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
-- In the same step as what is read: else a fork could be read over without being seen.
local other = contradiction(told, KEYS[3], ARGV[4])
if other then
  return other
end
local from, most, enough = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
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
