package redisretry

import "github.com/redis/go-redis/v9"

// The scripts go by the clock of Redis, and by times from now: the clocks of the
// processes do not matter. Each uses one key.

// announceScript makes a key cool down and publishes that, unless it is known already.
var announceScript = redis.NewScript(`
-- KEYS[1]  sorted set of what cools down: key -> end in ms; also the channel
-- ARGV     key, for how many ms
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local longest = 300000
local ms = math.min(tonumber(ARGV[2]), longest)

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
if known > now + longest then -- not by this script, or by another clock
	known = 0
end
if now + ms - known <= math.min(1000, ms / 10) then
	return 0
end

redis.call('ZADD', KEYS[1], now + ms, ARGV[1])
local more = redis.call('ZCARD', KEYS[1]) - 1024
if more > 0 then
	redis.call('ZPOPMIN', KEYS[1], more)
end
redis.call('PEXPIRE', KEYS[1], longest)
redis.call('PUBLISH', KEYS[1], string.format('%d ', ms) .. ARGV[1]) -- %s would cut the key at a NUL
return 1
`)

// catchUpScript returns what cools down, as it would have been published now.
var catchUpScript = redis.NewScript(`
-- KEYS[1]  the sorted set
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1024)
local messages = {}
for i = 1, #found, 2 do
	local ms = math.min(found[i + 1] - now, 300000)
	table.insert(messages, string.format('%d ', ms) .. found[i])
end
return messages
`)

// budgetScript counts a report in, and returns how many retries the process may
// do, and the second that this is counted in.
var budgetScript = redis.NewScript(`
-- KEYS[1]  hash: second .. what -> count, for the last 10 seconds
-- ARGV     requests, retries, wanted, ratio, perSecond,
--          random number from 0 to 1, retries granted last time, second of that
local time = redis.call('TIME')
local now = tonumber(time[1])
local requests, retries, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ratio, perSecond = tonumber(ARGV[4]), tonumber(ARGV[5])
local oldest = now - 9

local function count(second, what, n)
	if n ~= 0 and second >= oldest then
		redis.call('HINCRBY', KEYS[1], string.format('%d%s', second, what), n)
	end
end
count(now, 'requests', requests)
count(now, 'retries', retries)
count(now, 'wanted', wanted)
count(tonumber(ARGV[8]), 'granted', -tonumber(ARGV[7])) -- spent, or given back

-- What the fleet has done in the last 10 seconds, and may still do.
local sum = {requests = 0, retries = 0, granted = 0}
local first = now
local lately = {[now] = 0, [now - 1] = 0}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
	local second, what = string.match(fields[i], '^(%d+)(%a+)$')
	local n = tonumber(fields[i + 1])
	second = tonumber(second)
	local counts = n and n >= 0 and n <= 1e9 -- inf and nan are numbers too
	if not counts or not second or second < oldest or second > now then
		redis.call('HDEL', KEYS[1], fields[i])
	else
		first = math.min(first, second)
		if sum[what] then
			sum[what] = sum[what] + n
		elseif lately[second] then
			lately[second] = n
		end
	end
end
local span = math.max(now + time[2] / 1000000 - first, 1) -- the present second has only begun
local rate = math.max(sum.requests, requests) / span
-- Those granted are for the second to come, and that has its requests too.
local window = ratio * (sum.requests + rate) + 10 * perSecond - sum.retries - sum.granted
local second = ratio * rate + perSecond
local all = math.max(lately[now], lately[now - 1], wanted)

-- Where more is wanted than a second allows, each gets its part of that. Else
-- each gets what it wanted, and the rest goes by requests.
local share
if all > second then
	share = second * wanted / all
else
	local rest = math.min(window, ratio * sum.requests + perSecond) - all
	share = wanted + math.max(rest, 0) * requests / math.max(rate, 1)
end
local granted = math.floor(math.max(math.min(share, window), 0) + ARGV[6])
count(now, 'granted', granted)
redis.call('EXPIRE', KEYS[1], 20)
return {granted, now}
`)
