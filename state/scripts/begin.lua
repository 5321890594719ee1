-- begin notes that an attempt of a batch is about to start.
--
-- ARGV: trip, nonce, epoch, ttl in ms, lane, id, attempt, timeout in ms,
--       unanswered (1: the batch's attempt before this one got no answer),
--       the batch
-- Answers {'ok', ms to wait}, {'absent'}, {'foreign', epoch that is there},
--         {'overtaken'} or {'inflight', id of the batch that is}.
-- The same attempt again renews its deadline and changes nothing else.

local nonce, epoch, ttl, lane, id, attempt = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local timeout, unanswered, batch = tonumber(ARGV[8]), ARGV[9] == '1', ARGV[10]

local status, held, earlier = look(nonce, epoch, lane)
if status ~= 'ok' then return {status, held} end

local at = now()
local owed = 0
if held and held.id == id then
  owed = held.owed
  -- Nobody told this owner whether a former one's attempt was answered.
  if held.epoch ~= epoch or (unanswered and held.attempt ~= attempt) then
    owed = math.max(owed, held.deadline)
  end
elseif held then
  if held.epoch == epoch then return {'inflight', held.id} end
  -- A former owner's batch makes room; what may still run of it does not.
  earlier = math.max(earlier, held.owed, held.deadline)
end

put(lane, at + timeout, owed, epoch, batch)
hold(lane, earlier, at)
keep(ttl)
return {'ok', text(math.max(0, earlier - at))}
