-- One change of one part, whole or not at all.
-- KEYS: head, feed, ids, line, keys, due, asks; the documents of this part that were read; then for every other part
-- head, keys, line and the documents that were read there.
-- ARGV: id, parts, format; how long a document's key is without its name; the part; what the caller saw
-- of it; the change, its instant, the ticket of the last question about it; the prefix of the channel;
-- how many changes and milliseconds ids and lines are kept, and how many of both the feed;
-- how many documents of this part were read, and their versions; for every other part what the caller saw of it, and
-- likewise; then for every document that is written which of those read it is, its deadline or '', and its bytes.
--
-- Whatever can refuse comes before the first write: a script is not undone. The first write is one that Redis refuses
-- where it has no memory, no disk, no replicas or no right to write.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
local skip = tonumber(ARGV[4])
local change, at, ticket = ARGV[7], ARGV[8], ARGV[9]
if told.state ~= 'good' then
  return {'suspect', ARGV[5]}
end
-- Versions alone do not tell histories apart: after a fork two documents bear the same one.
local other = contradiction(told, KEYS[4], ARGV[6])
if other then
  return other
end

local place = redis.call('HGET', KEYS[3], change)
if place then
  -- A repeat writes too: what is confirmed after it is a write that came after the change.
  redis.call('HINCRBY', KEYS[1], 'asks', 1)
  return {'ok', told.id, 'repeated', place, line_at(told, KEYS[4], tonumber(place))}
end
-- Somebody asked for the change, was told that it was not made, and must be right.
local asked = redis.call('ZSCORE', KEYS[7], change)
if asked and asked ~= ticket then
  return {'asked', asked}
end

local conflicts = {'conflict', told.id}
local key, arg, nth = 8, 16, 0
local function compare(index, count)
  for _ = 1, count do
    local found, lost = document(KEYS[key], index, skip)
    local version = '-'
    if lost then
      version = ''
    elseif found then
      version = string.match(found, '^(%d+%.%d+)\n') or ''
    end
    nth = nth + 1
    if version ~= ARGV[arg] then
      conflicts[#conflicts + 1] = nth
    end
    key, arg = key + 1, arg + 1
  end
end
if unindexed(told, KEYS[5]) then
  return {'damaged', 'its index is gone'}
end
compare(KEYS[5], tonumber(ARGV[15]))
while key <= #KEYS do
  local there, no = head(KEYS[key])
  if no then
    return no
  end
  local index, count = KEYS[key + 1], tonumber(ARGV[arg + 1])
  if there.state ~= 'good' then
    return {'suspect', ''}
  end
  no = contradiction(there, KEYS[key + 2], ARGV[arg])
  if no then
    return no
  end
  if unindexed(there, index) then
    return {'damaged', 'the index of another part is gone'}
  end
  key, arg = key + 3, arg + 2
  compare(index, count)
end
if #conflicts > 2 then
  return conflicts
end

-- Each of these answers an error where something else lies under the key; the ones above did so for theirs.
local oldest = redis.call('ZRANGE', KEYS[4], 0, 15, 'WITHSCORES')
redis.call('ZCARD', KEYS[5])
redis.call('ZCARD', KEYS[6])
redis.call('XLEN', KEYS[2])

local number = told.number + 1
local count = text(number)
local names, values, dues = {}, {}, {}
for from = arg, #ARGV, 3 do
  names[#names + 1] = KEYS[7 + tonumber(ARGV[from])]
  dues[#dues + 1] = ARGV[from + 1]
  values[#values + 1] = ARGV[from + 2]
end
local line = string.sub(redis.sha1hex(told.line .. change .. redis.sha1hex(table.concat(values))), 1, 20)

local entry = {'change', change, 'at', at, 'line', line}
local index, deadlines, ended = {}, {}, {}
for i, name in ipairs(names) do
  local member = string.sub(name, skip + 1)
  entry[#entry + 1], entry[#entry + 2] = member, values[i]
  index[#index + 1], index[#index + 2] = 0, member
  if dues[i] == '' then
    ended[#ended + 1] = member
  else
    deadlines[#deadlines + 1], deadlines[#deadlines + 2] = dues[i], member
  end
end
redis.call('XADD', KEYS[2], count .. '-0', unpack(entry))
redis.call('HSET', KEYS[3], change, count)
redis.call('ZADD', KEYS[4], count, change .. ' ' .. line .. ' ' .. at)
for i, name in ipairs(names) do
  redis.call('SET', name, values[i])
end
redis.call('ZADD', KEYS[5], unpack(index))
if #deadlines > 0 then
  redis.call('ZADD', KEYS[6], unpack(deadlines))
end
if #ended > 0 then
  redis.call('ZREM', KEYS[6], unpack(ended))
end

-- What is old enough goes, a few at a time: more than one change adds.
local now = tonumber(at)
local kept, kept_ms, fed, fed_ms = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local first = told.first
for _ = 1, 16 do
  if number - first < fed then
    break
  end
  local row = redis.call('ZRANGEBYSCORE', KEYS[4], text(first), text(first))[1]
  local made = row and tonumber(string.match(row, ' (%-?%d+)$'))
  if made and now - made <= fed_ms then
    break
  end
  first = first + 1
end
if first > told.first then
  redis.call('XTRIM', KEYS[2], 'MINID', text(first) .. '-0')
end
for i = 1, #oldest, 2 do
  local name, made = string.match(oldest[i], '^(%S+) %S+ (%-?%d+)$')
  if not name or number - tonumber(oldest[i + 1]) < kept or now - tonumber(made) <= kept_ms then
    break
  end
  redis.call('HDEL', KEYS[3], name)
  redis.call('ZREM', KEYS[4], oldest[i])
end
redis.call('HSET', KEYS[1], 'number', count, 'line', line, 'first', text(first))

-- A push may be lost, so it may fail as well. It says no more than that there is something in the feed: anybody may listen.
local pushed = redis.pcall('PUBLISH', ARGV[10] .. ':' .. told.id .. ':moved', ARGV[5] .. ' ' .. count)
local silent = type(pushed) == 'table' and (pushed.err or 'the push failed') or ''
return {'ok', told.id, 'made', count, line, silent}
