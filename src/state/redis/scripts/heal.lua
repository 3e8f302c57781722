-- What the scripts of a healing have in common (decision 0026). They stand behind what every script begins with.

-- Milliseconds by the server's clock: they decide only how long a place is kept.
local function now()
  local time = redis.call('TIME')
  return text(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
end

-- Takes the next place, above one that somebody saw: with documents, or as a mark.
-- keys: head, feed, ids, line, keys, due. changed: names, values, deadlines or '', and for each document the changes that it remembers.
local function advance(told, keys, at_least, change, skip, changed)
  local number = math.max(told.number, at_least) + 1
  local count, at = text(number), now()
  local line = string.sub(redis.sha1hex(told.line .. change .. redis.sha1hex(table.concat(changed.values))), 1, 20)
  -- A feed has no gaps: whoever is behind one reads the documents anew.
  if number ~= told.number + 1 then
    redis.call('DEL', keys[2])
    redis.call('HSET', keys[1], 'first', count)
  end
  local entry = {'change', change, 'at', at, 'line', line}
  for i, name in ipairs(changed.names) do
    entry[#entry + 1], entry[#entry + 2] = string.sub(name, skip + 1), changed.values[i]
  end
  redis.call('XADD', keys[2], count .. '-0', unpack(entry))
  redis.call('HSET', keys[3], change, count)
  redis.call('ZADD', keys[4], count, change .. ' ' .. line .. ' ' .. at)
  for i, name in ipairs(changed.names) do
    local member = string.sub(name, skip + 1)
    redis.call('SET', name, changed.values[i])
    redis.call('ZADD', keys[5], 0, member)
    if changed.dues[i] == '' then
      redis.call('ZREM', keys[6], member)
    else
      redis.call('ZADD', keys[6], changed.dues[i], member)
    end
    -- What was made of it counts as made: whoever asks is not told otherwise.
    for made in string.gmatch(changed.remembered[i], '%S+') do
      if redis.call('HSETNX', keys[3], made, count) == 1 then
        redis.call('ZADD', keys[4], count, made .. ' ' .. line .. ' ' .. at)
      end
    end
  end
  redis.call('HSET', keys[1], 'number', count, 'line', line)
  if redis.call('ZCARD', keys[5]) == 0 then
    -- There may be places without any document.
    redis.call('HSET', keys[1], 'bare', count)
  end
  told.number, told.line = number, line
end

local nothing = {names = {}, values = {}, dues = {}, remembered = {}}

-- Whether the head still says what a gateway joins under.
local function under(told, heal, kind, what)
  if kind == 'round' then
    return told.state == 'suspect' and redis.call('HGET', heal, 'round') == what
  end
  return told.state == 'good' and text(told.epoch) == what
end

-- Others to wait for, and a coming epoch above one that somebody saw.
local function take_part(told, heal, epoch, awaited)
  if told.state ~= 'suspect' then
    return
  end
  if tonumber(redis.call('HGET', heal, 'coming')) <= epoch then
    redis.call('HSET', heal, 'coming', text(epoch + 1))
  end
  for gateway in string.gmatch(awaited, '[^\n]+') do
    redis.call('HSET', heal, 'w:' .. gateway, 1)
  end
  redis.call('HINCRBY', heal, 'progress', 1)
end

