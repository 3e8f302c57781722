-- Writes a page of what a gateway knows, whole or not at all.
-- KEYS: head, feed, ids, line, keys, due, asks, heal; the documents. ARGV: id, parts, format; how long a document's key is
-- without its name; the prefix of the channel and the part; the gateway; under what, and what that says; where its cursor has to be, '' at the beginning; where it is
-- then; the highest epoch that it saw; whom to wait for; the change; the place and the line as of
-- which the page was loaded; then for every document the version that is replaced, its
-- deadline or '', its bytes, the changes that it remembers.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
local skip, cursor = tonumber(ARGV[4]), 'a:' .. ARGV[7]
if not under(told, KEYS[8], ARGV[8], ARGV[9]) then
  return {'ok', told.id, 'moved'}
end
if ARGV[10] ~= '' and redis.call('HGET', KEYS[8], cursor) ~= ARGV[10] then
  return {'ok', told.id, 'moved'}
end
-- What is not written is there in the history that it was loaded from, and perhaps in no other.
local read = tonumber(ARGV[15])
if read > 0 and (read > told.number or line_at(told, KEYS[4], read) ~= ARGV[16]) then
  return {'ok', told.id, 'moved'}
end
local changed = {names = {}, values = {}, dues = {}, remembered = {}}
for at = 9, #KEYS do
  local arg = 17 + (at - 9) * 4
  local found, lost = document(KEYS[at], KEYS[5], skip)
  local version = '-'
  if lost then
    version = ''
  elseif found then
    version = string.match(found, '^(%d+%.%d+)\n') or ''
  end
  if version ~= ARGV[arg] then
    return {'ok', told.id, 'moved'}
  end
  local next = #changed.names + 1
  changed.names[next], changed.dues[next] = KEYS[at], ARGV[arg + 1]
  changed.values[next], changed.remembered[next] = ARGV[arg + 2], ARGV[arg + 3]
end
take_part(told, KEYS[8], tonumber(ARGV[12]), ARGV[13])
if ARGV[10] == '' then
  redis.call('HDEL', KEYS[8], 'j:' .. ARGV[7])
end
if #changed.names > 0 then
  advance(told, KEYS, 0, ARGV[14], skip, changed)
  -- Those who trust the part read from the feed what came in late.
  redis.pcall('PUBLISH', ARGV[5] .. ':' .. told.id .. ':moved', ARGV[6] .. ' ' .. text(told.number))
end
redis.call('HSET', KEYS[8], cursor, ARGV[11])
return {'ok', told.id, 'done'}
