-- trim forgets watermarks that the channel's checkpoint covers.
--
-- ARGV: trip, nonce, epoch, ttl in ms, then (lane, watermark) for each
-- Answers {'ok'}, {'absent'}, {'foreign', epoch that is there} or
--         {'overtaken'}.
-- A lane with another watermark has moved on and is left alone.

local nonce, epoch, ttl = ARGV[2], ARGV[3], ARGV[4]

local status, holder = look(nonce, epoch, '')
if status ~= 'ok' then return {status, holder} end

for i = 5, #ARGV, 2 do
  local field = 'w:' .. ARGV[i]
  if redis.call('HGET', KEYS[1], field) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], field)
  end
end
keep(ttl)
return {'ok'}
