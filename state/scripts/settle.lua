-- settle notes that a lane's batch in flight is settled, or that a part of it
-- is and the remainder begins.
--
-- ARGV: trip, nonce, epoch, ttl in ms, lane, id, unanswered (1: the batch's last
--       attempt got no answer), watermark, and with a remainder: its id,
--       attempt, timeout in ms, the batch
-- Answers {'ok'}, {'absent'}, {'foreign', epoch that is there} or
--         {'overtaken'}.
-- A batch that is not in flight has been settled before: nothing changes,
-- except that the deadline of its remainder is renewed.

local nonce, epoch, ttl, lane, id = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local unanswered, watermark = ARGV[7] == '1', ARGV[8]
local remainder, attempt, timeout, batch = ARGV[9], ARGV[10], tonumber(ARGV[11] or '0'), ARGV[12]

local status, held, earlier = look(nonce, epoch, lane)
if status ~= 'ok' then return {status, held} end

local at = now()
if held and held.id == id then
  local owed = held.owed
  if held.epoch ~= epoch or unanswered then owed = math.max(owed, held.deadline) end
  if remainder then
    put(lane, at + timeout, owed, epoch, batch)
  else
    redis.call('HSET', KEYS[1], 'w:' .. lane, watermark)
    redis.call('HDEL', KEYS[1], 'b:' .. lane)
    hold(lane, math.max(earlier, owed), at)
  end
elseif held and held.id == remainder and held.epoch == epoch and held.attempt == attempt then
  put(lane, at + timeout, held.owed, epoch, batch)
end
keep(ttl)
return {'ok'}
