-- Writes down a gateway and the process that is it, as seen now; answers all that were ever written down, with the store's time of
-- each, the other processes that go by this name, and who was retired.
-- Beats have an order of their own: that of the clock, which a clock that is set back does not turn round.
-- KEYS: head, gateways, runs, retired. ARGV: id, parts, format, name, address; the process, the beat that it began with or '';
-- after how many milliseconds a process is forgotten.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
local time = redis.call('TIME')
local now = time[1] .. string.sub(string.format('%06d', time[2]), 1, 3)
local beat = math.max(tonumber(now), tonumber(redis.call('HGET', KEYS[3], '') or '0') + 1)
local began = ARGV[7] == '' and text(beat) or ARGV[7]
redis.call('HSET', KEYS[2], ARGV[4], now .. ' ' .. ARGV[5])
redis.call('HSET', KEYS[3], '', text(beat), ARGV[6] .. ' ' .. ARGV[4], began .. ' ' .. text(beat))
local runs, others = redis.call('HGETALL', KEYS[3]), {}
for i = 1, #runs, 2 do
  local process, name = string.match(runs[i], '^(%S+) (.+)$')
  local since, seen = string.match(runs[i + 1], '^(%d+) (%d+)$')
  if process and not (seen and beat - tonumber(seen) < tonumber(ARGV[8])) then
    redis.call('HDEL', KEYS[3], runs[i])
  elseif process and name == ARGV[4] and process ~= ARGV[6] then
    others[#others + 1], others[#others + 2], others[#others + 3] = process, since, seen
  end
end
return {'ok', told.id, redis.call('HGETALL', KEYS[2]), began, others, redis.call('HGETALL', KEYS[4])}
