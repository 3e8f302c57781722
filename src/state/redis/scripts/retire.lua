-- Takes out a gateway that nobody is any more, and writes down that it was one; or says who recorded that; or writes down again whom the
-- store forgot.
-- KEYS: head, gateways, runs, retired. ARGV: id, parts, format; then either 'retire', name, what is said of it, after how many
-- milliseconds a process is forgotten; or 'record', the retirement, what was said of it, the gateway that recorded it; or 'look'; or 'known', names.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
if ARGV[4] == 'record' then
  -- A store that forgot is told anew who was retired.
  redis.call('HSETNX', KEYS[4], ARGV[5], ARGV[6])
  redis.call('HSETNX', KEYS[4], '+' .. ARGV[5], ARGV[7])
  return {'ok', told.id, 'done'}
end
if ARGV[4] == 'known' then
  local gone = {}
  for _, field in ipairs(redis.call('HKEYS', KEYS[4])) do
    gone[string.match(field, '^%d+ (.+)$') or ''] = true
  end
  for name in string.gmatch(ARGV[5], '[^\n]+') do
    if not gone[name] then
      redis.call('HSETNX', KEYS[2], name, '0 ')
    end
  end
  return {'ok', told.id, 'done'}
end
if ARGV[4] == 'look' then
  return {'ok', told.id, redis.call('HGETALL', KEYS[4])}
end
local time = redis.call('TIME')
local now = time[1] .. string.sub(string.format('%06d', time[2]), 1, 3)
local beat = math.max(tonumber(now), tonumber(redis.call('HGET', KEYS[3], '') or '0'))
local runs = redis.call('HGETALL', KEYS[3])
for i = 1, #runs, 2 do
  local name = string.match(runs[i], '^%S+ (.+)$')
  local seen = string.match(runs[i + 1], '^%d+ (%d+)$')
  if name == ARGV[5] and seen and beat - tonumber(seen) < tonumber(ARGV[7]) then
    return {'ok', told.id, 'runs'}
  end
end
if redis.call('HDEL', KEYS[2], ARGV[5]) == 0 then
  return {'ok', told.id, 'unknown'}
end
local retirement = now .. ' ' .. ARGV[5]
redis.call('HSET', KEYS[4], retirement, ARGV[6])
return {'ok', told.id, 'retired', retirement}
