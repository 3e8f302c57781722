-- What of one part falls due, by deadline and then by name.
-- KEYS: head, due. ARGV: id, parts, format; until when; how many at most; the deadline and the name after which, or ''.
local told, refused = head(KEYS[1])
if refused then
  return refused
end

-- By bytes: Lua compares strings as the server's locale has it.
local function follows(one, other)
  for at = 1, math.min(#one, #other) do
    local a, b = string.byte(one, at), string.byte(other, at)
    if a ~= b then
      return a > b
    end
  end
  return #one > #other
end

local from = 0
if ARGV[6] ~= '' then
  -- Names with one deadline stand in their order: the first of them that follows is found by halves.
  local high
  from, high = redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. ARGV[6]), redis.call('ZCOUNT', KEYS[2], '-inf', ARGV[6])
  while from < high do
    local middle = math.floor((from + high) / 2)
    if follows(redis.call('ZRANGE', KEYS[2], middle, middle)[1], ARGV[7]) then
      high = middle
    else
      from = middle + 1
    end
  end
end
local most = redis.call('ZCOUNT', KEYS[2], '-inf', ARGV[4])
local last = math.min(from + tonumber(ARGV[5]), most) - 1
if last < from then
  return {'ok', told.id, {}}
end
return {'ok', told.id, redis.call('ZRANGE', KEYS[2], from, last, 'WITHSCORES')}
