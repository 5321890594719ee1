-- Goes before each script: what they all know of a channel.
--
-- ARGV[1] is the number of the round trip; a later one of the same ledger has
-- a higher one. A script that comes after a later one was left behind on a
-- connection that its sender gave up, and must do nothing: it would begin
-- again what has been settled since.
--
-- KEYS[1] is the channel's hash. Its fields:
--
--   schema            the version of this list: 1
--   nonce, epoch      the owner; the nonce of an owner that released the
--                     channel has "released " before it
--   version           the channel's version
--   request           the id of the attach that the owner made
--   trip              the number of the owner's latest round trip
--   l:TRIGGER         the trigger's layout
--   o:TRIGGER         its layout as the attach found it
--   w:INDEX/TRIGGER   the lane's watermark
--   b:INDEX/TRIGGER   the lane's batch in flight:
--                     DEADLINE OWED EPOCH ID ATTEMPT and what only Go reads
--   d:INDEX/TRIGGER   until when an unanswered attempt of an earlier batch of
--                     the lane may still have an effect
--
-- Times are milliseconds of the server's clock. DEADLINE is the attempt's;
-- OWED is the latest one of the batch's earlier attempts without an answer,
-- or 0; EPOCH is the owner's that began it.
--
-- Lua's numbers are doubles: times and small counts are the only ones here.
-- Positions, fingerprints, versions and epochs stay text.

-- text writes a time. tostring would write an exponent on a real server.
local function text(time)
  return string.format('%.0f', time)
end

-- now is the server's time.
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- entry reads a batch in flight. Nil: there is none, or none that can be read.
local function entry(value)
  if not value then return nil end
  local deadline, owed, epoch, id, attempt = string.match(value, '^(%d+) (%d+) (%d+) (%S+) (%d+) ')
  if not id then return nil end
  return {deadline = tonumber(deadline), owed = tonumber(owed), epoch = epoch, id = id, attempt = attempt}
end

-- overtaken tells whether this round trip was.
local function overtaken(trip)
  return tonumber(ARGV[1]) < (tonumber(trip or '0') or 0)
end

-- look asks whether (nonce, epoch) owns the channel: 'ok', 'absent',
-- 'foreign' or 'overtaken'. With 'ok' come the lane's batch in flight and its
-- d:, 0 if there is none; with 'foreign' the epoch that is there.
local function look(nonce, epoch, lane)
  local v = redis.call('HMGET', KEYS[1], 'nonce', 'epoch', 'trip', 'b:' .. lane, 'd:' .. lane)
  if not v[2] then return 'absent' end
  if v[1] ~= nonce or v[2] ~= epoch then return 'foreign', v[2] end
  if overtaken(v[3]) then return 'overtaken' end
  return 'ok', entry(v[4]), tonumber(v[5] or '0') or 0
end

-- put writes a lane's batch in flight.
local function put(lane, deadline, owed, epoch, batch)
  redis.call('HSET', KEYS[1], 'b:' .. lane, text(deadline) .. ' ' .. text(owed) .. ' ' .. epoch .. ' ' .. batch)
end

-- keep ends every script that may change something.
local function keep(ttl)
  redis.call('HSET', KEYS[1], 'trip', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ttl)
end

-- hold writes a lane's d:, or removes it once it has passed.
local function hold(lane, deadline, at)
  if deadline > at then
    redis.call('HSET', KEYS[1], 'd:' .. lane, text(deadline))
  else
    redis.call('HDEL', KEYS[1], 'd:' .. lane)
  end
end
