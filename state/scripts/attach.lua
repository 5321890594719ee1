-- attach claims the channel, or writes back what a server lost.
--
-- ARGV: trip, schema, nonce, request, version, ttl in ms, epoch to restore under
--       (empty: claim), number of layouts, then (trigger, layout) for each,
--       then for each lane to restore: lane, watermark (empty: none), ms left
--       to wait, epoch of its batch in flight, that batch (empty: none)
-- Answers {'ok', epoch, now, all fields and values},
--         {'foreign', epoch that is there}, {'schema', schema that is there} or
--         {'overtaken'}.
-- The same request again finds its own claim and answers it as it stands; so
-- does the same restore.

local schema, nonce, request, version, ttl, restore = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local layouts = tonumber(ARGV[8])

-- below compares whole numbers of any size as text.
local function below(a, b)
  return #a < #b or (#a == #b and a < b)
end

local at = now()
local held = redis.call('HMGET', KEYS[1], 'schema', 'nonce', 'epoch', 'version', 'request', 'trip')
local claimed = held[2] == nonce and held[5] == request
if restore ~= '' then claimed = held[2] == nonce and held[3] == restore end

if held[1] and tonumber(held[1]) > tonumber(schema) then
  return {'schema', held[1]}
end
if held[3] and not claimed and (restore ~= '' or below(version, held[4])) then
  return {'foreign', held[3]}
end
if (held[2] == nonce or held[2] == 'released ' .. nonce) and overtaken(held[6]) then
  return {'overtaken'}
end

if not claimed then
  redis.call('HSET', KEYS[1], 'schema', schema, 'nonce', nonce, 'version', version, 'request', request)
  if restore ~= '' then
    redis.call('HSET', KEYS[1], 'epoch', restore)
  else
    redis.call('HINCRBY', KEYS[1], 'epoch', 1)
  end

  -- A trigger's layout says how to read its lanes: while any of them holds
  -- something, the former one stays.
  local former, busy = {}, {}
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local kind, name = string.sub(all[i], 1, 2), string.sub(all[i], 3)
    if kind == 'o:' then
      redis.call('HDEL', KEYS[1], all[i])
    elseif kind == 'l:' then
      former[name] = all[i + 1]
    elseif kind == 'w:' or kind == 'b:' then
      busy[string.match(name, '^%d+/(.*)$') or ''] = true
    end
  end
  for trigger, layout in pairs(former) do
    redis.call('HSET', KEYS[1], 'o:' .. trigger, layout)
    if not busy[trigger] then redis.call('HDEL', KEYS[1], 'l:' .. trigger) end
  end
  local i = 9
  for _ = 1, layouts do
    local trigger, layout = ARGV[i], ARGV[i + 1]
    if not (busy[trigger] and former[trigger]) then
      redis.call('HSET', KEYS[1], 'l:' .. trigger, layout)
    end
    i = i + 2
  end

  while ARGV[i] do
    local lane, watermark, wait, epoch, batch = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4]
    if watermark ~= '' then redis.call('HSET', KEYS[1], 'w:' .. lane, watermark) end
    if batch ~= '' then
      put(lane, at + wait, 0, epoch, batch)
    end
    -- What is left to wait of an own batch in flight is its own attempt's; of
    -- anything else it may be another batch's too.
    if batch == '' or epoch ~= restore then hold(lane, at + wait, at) end
    i = i + 5
  end
end

keep(ttl)
return {'ok', redis.call('HGET', KEYS[1], 'epoch'), text(at), redis.call('HGETALL', KEYS[1])}
