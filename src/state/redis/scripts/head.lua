-- What every script begins with. The first three arguments are the store's id ('' where nobody knows it yet), how many
-- parts it has, and its format. Without the head that they describe nothing is answered and nothing done.
--
-- Answers what the head says; or nil, and what to answer instead.
local function head(key)
  local told = redis.call('HMGET', key, 'id', 'epoch', 'number', 'line', 'state', 'format', 'parts', 'first', 'rebuilt',
    'bare')
  if not told[1] then
    return nil, {'missing'}
  end
  if told[6] ~= ARGV[3] then
    return nil, {'format', told[6] or ''}
  end
  if told[7] ~= ARGV[2] then
    return nil, {'parts', told[7] or ''}
  end
  if ARGV[1] ~= '' and told[1] ~= ARGV[1] then
    return nil, {'other', told[1]}
  end
  if told[5] == 'new' then
    return nil, {'unmade'}
  end
  local epoch, number, first = tonumber(told[2]), tonumber(told[3]), tonumber(told[8])
  if not (epoch and number and first and told[4] and told[5]) then
    return nil, {'damaged', 'its head cannot be read'}
  end
  return {
    id = told[1], epoch = epoch, number = number, line = told[4], state = told[5], first = first,
    rebuilt = told[9] or '', bare = tonumber(told[10] or '') or 0,
  }
end

-- A whole number as text: `tostring` would round it.
local function text(number)
  return string.format('%.0f', number)
end

-- The line at a place, '' where it is not kept.
local function line_at(told, line, number)
  if number == told.number then
    return told.line
  end
  local row = redis.call('ZRANGEBYSCORE', line, text(number), text(number), 'LIMIT', 0, 1)[1]
  return row and string.match(row, '^%S+ (%S+) ') or ''
end

-- What to answer where the part is behind what the caller saw of it, or has another history than that; nil where neither is so.
-- seen: the part and the epoch, then places, each with its line ('-' where that is not known). A line that is no longer kept
-- proves nothing, so it counts as another.
local function contradiction(told, line, seen)
  local part, epoch, places = string.match(seen, '^(%d+) (%d+)(.*)$')
  for place, known in string.gmatch(places, '(%d+) (%S+)') do
    local number = tonumber(place)
    if number > told.number then
      return {'behind', part, place, text(told.number)}
    end
    if known ~= '-' and line_at(told, line, number) ~= known then
      return {'forked', part, place}
    end
  end
  if told.epoch < tonumber(epoch) then
    return {'behind', part, text(told.number), text(told.number)}
  end
  return nil
end

-- A document: its bytes; false where there is none; false and a word where there is something that is none.
-- Documents are never deleted: one that the index names and that is not there was lost, and is not absent.
local function document(key, index, skip)
  local found = redis.pcall('GET', key)
  if type(found) == 'table' then
    if not string.find(found.err or '', 'WRONGTYPE', 1, true) then
      redis.call('GET', key)
    end
    return false, 'it is no string'
  end
  if not found and redis.call('ZSCORE', index, string.sub(key, skip + 1)) then
    return false, 'the index names it, and it is gone'
  end
  return found
end

-- Whether the index itself was lost. A healing may take places before there is any document.
local function unindexed(told, index)
  return told.number > told.bare and redis.call('ZCARD', index) == 0
end

