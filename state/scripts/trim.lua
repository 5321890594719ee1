-- trim forgets watermarks that the channel's checkpoint covers.
--
-- ARGV: nonce, epoch, ttl in ms, then (lane, watermark) for each
-- Answers {'ok'}, {'absent'} or {'foreign', epoch that is there}.
-- A lane with another watermark has moved on and is left alone.

local nonce, epoch, ttl = ARGV[1], ARGV[2], ARGV[3]

local status, holder = look(nonce, epoch, '')
if status ~= 'ok' then return {status, holder} end

for i = 4, #ARGV, 2 do
  local field = 'w:' .. ARGV[i]
  if redis.call('HGET', KEYS[1], field) == ARGV[i + 1] then
    redis.call('HDEL', KEYS[1], field)
  end
end
redis.call('PEXPIRE', KEYS[1], ttl)
return {'ok'}
