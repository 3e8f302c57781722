-- Ends a healing.
-- KEYS: head, heal. ARGV: id, parts, format; its name; 1 where the time to wait is over; who was retired.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
if not under(told, KEYS[2], 'round', ARGV[4]) then
  return {'ok', told.id, 'moved'}
end
local fields = redis.call('HGETALL', KEYS[2])
local at = {}
for i = 1, #fields, 2 do
  at[fields[i]] = fields[i + 1]
end
local retired = {}
for gateway in string.gmatch(ARGV[6], '[^\n]+') do
  retired[gateway] = true
end
local known, any, all = at.lost ~= '1', false, true
for field, value in pairs(at) do
  local kind, gateway = string.match(field, '^(%w):(.*)$')
  if kind == 'j' then
    any, known = true, known or value == '1'
  elseif kind == 'w' and not at['j:' .. gateway] and not retired[gateway] then
    all = false
  end
end
if not (known and any and (all or ARGV[5] == '1')) then
  return {'ok', told.id, 'moved'}
end
redis.call('HSET', KEYS[1], 'epoch', at.coming, 'state', 'good')
redis.call('DEL', KEYS[2])
return {'ok', told.id, 'done'}
