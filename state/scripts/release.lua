-- release gives the channel up.
--
-- ARGV: trip, nonce, epoch, ttl in ms, ended (1: forget triggers and lanes)
-- Answers {'ok'}, {'absent'}, {'foreign', epoch that is there} or
--         {'overtaken'}.
-- Watermarks, batches in flight and the deadlines that have not passed stay
-- for the next owner, unless the channel has ended. The owner's epoch stays in
-- any case: without it, an earlier owner would be told 'absent' and write its
-- own state back. To release again, or to end what is gone, is 'ok'.

local nonce, epoch, ttl, ended = ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'

local held = redis.call('HMGET', KEYS[1], 'nonce', 'epoch', 'trip')
if not held[2] then return {ended and 'ok' or 'absent'} end
if held[2] ~= epoch or (held[1] ~= nonce and held[1] ~= 'released ' .. nonce) then
  return {'foreign', held[2]}
end
if overtaken(held[3]) then return {'overtaken'} end

local at = now()
redis.call('HSET', KEYS[1], 'nonce', 'released ' .. nonce)
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local field, kind = all[i], string.sub(all[i], 1, 2)
  if ended and string.match(kind, '^%l:') then
    redis.call('HDEL', KEYS[1], field)
  elseif kind == 'd:' then
    hold(string.sub(field, 3), tonumber(all[i + 1]) or 0, at)
  end
end
keep(ttl)
return {'ok'}
