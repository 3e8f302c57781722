-- What the head of a part says.
-- KEYS: head. ARGV: id, parts, format.
local told, refused = head(KEYS[1])
if refused then
  return refused
end
return {'ok', told.id, text(told.epoch), text(told.number), told.line, told.rebuilt}
