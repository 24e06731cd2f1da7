/** The scripts by which Redis carries out each operation of the store as a whole; docs/wire.md says what its keys hold. */

/** All but the lease's take docs, keys, feed, meta; then revision seen, new mark, id for a new store, feed limit. */
const OPENING = `
local docs, keys, feed, meta = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local seen, mark, newId, feedLimit = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]

local function digits(number) return string.format('%.0f', number) end

local function revisionOf(entry) return tonumber(string.match(entry[1], '^%d+')) end

local function fieldOf(entry, name)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == name then return entry[2][i + 1] end
  end
end

-- Somebody may have added an entry by hand: then the feed is ahead of what meta says.
local function readHead()
  local known = redis.call('HMGET', meta, 'revision', 'mark', 'id')
  local head = { revision = tonumber(known[1] or '') or 0, mark = known[2] or '', id = known[3] or '' }
  local last = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]
  if last and revisionOf(last) > head.revision then
    head.revision, head.mark = revisionOf(last), fieldOf(last, 'm') or ''
  end
  -- Not a number fails every comparison.
  if not (head.revision >= 0 and head.revision < 2 ^ 52) then error('REVISIONS are out of range') end
  return head
end

local function append(head, ...)
  local before = digits(head.revision) .. ':' .. head.mark
  head.revision, head.mark = math.max(head.revision, seen) + 1, mark
  redis.call('XADD', feed, digits(head.revision) .. '-0', 'm', mark, 'p', before, ...)
end

local function keep(head)
  if head.id == '' then head.id = newId end
  redis.call('XTRIM', feed, 'MAXLEN', feedLimit)
  redis.call('HSET', meta, 'revision', digits(head.revision), 'mark', head.mark, 'id', head.id)
end

local function raise(head)
  if head.revision >= seen then return end
  append(head)
  keep(head)
end
`

/** Then key, expected revision or '', JSON or '' to delete or '=' to do nothing, for each mutation. */
const COMMIT = `${OPENING}
-- What stands there without a revision was not written here: 0, as if it were not there.
local function revisionIn(row)
  local found = row and string.match(row, '^(%d+):')
  local revision = found and tonumber(found) or 0
  return revision < 2 ^ 53 and revision or 0
end

local exists = {}
for i = 5, #ARGV, 3 do
  local row = redis.call('HGET', docs, ARGV[i])
  local current = revisionIn(row)
  if ARGV[i + 1] ~= '' and tonumber(ARGV[i + 1]) ~= current then return { 0, (i - 5) / 3, current } end
  exists[i] = row and true
end

local head = readHead()
local reply = { 1 }
local isChanged = false
for i = 5, #ARGV, 3 do
  local key, json = ARGV[i], ARGV[i + 2]
  local revision = 0
  if json == '=' then
    revision = 0
  elseif json ~= '' then
    append(head, 'k', key, 'v', json)
    redis.call('HSET', docs, key, digits(head.revision) .. ':' .. json)
    redis.call('ZADD', keys, 0, key)
    revision = head.revision
  elseif exists[i] then
    append(head, 'k', key, 'd', '1')
    redis.call('HDEL', docs, key)
    redis.call('ZREM', keys, key)
    revision = head.revision
  end
  isChanged = isChanged or revision > 0
  reply[#reply + 1] = revision
end
if isChanged then keep(head) end
return reply
`

/**
 * Then the prefix, where to start as ZRANGEBYLEX takes it, and how many. UTF-8 has no byte 255. Rows end where they
 * weigh 4 MB: a page of large ones would take longer than a command may.
 */
const LIST = `${OPENING}
local prefix, from, count = ARGV[5], ARGV[6], ARGV[7]
local head = readHead()
raise(head)
local to = prefix == '' and '+' or '(' .. prefix .. '\\255'
local found = redis.call('ZRANGEBYLEX', keys, from, to, 'LIMIT', 0, count)
local rows, weight, i = {}, 0, 1
while i <= #found and weight < 4194304 do
  local part = redis.call('HMGET', docs, unpack(found, i, math.min(i + 99, #found)))
  for j = 1, #part do
    rows[i + j - 1] = part[j]
    weight = weight + (part[j] and #part[j] or 0)
  end
  i = i + 100
end
return { head.revision, head.mark, head.id, found, rows }
`

/** Then revision, '1' when its mark is known, and that mark. The reply opens with 1 when it is a place in this history. */
const PLACE = `${OPENING}
local revision, isMarked, wanted = tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7]
local head = readHead()
raise(head)

local function isMark(found) return not isMarked or found == wanted end

local function isPlace()
  if revision > head.revision then return false end
  if revision == head.revision then return isMark(head.mark) end
  local entry = redis.call('XREVRANGE', feed, ARGV[5], ARGV[5], 'COUNT', 1)[1]
  if entry then return isMark(fieldOf(entry, 'm') or '') end
  local first = redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]
  local before, beforeMark = string.match(first and fieldOf(first, 'p') or '', '^(%d+):(.*)$')
  if not before then return false end
  if isMarked then return revision == tonumber(before) and wanted == beforeMark end
  return revision >= tonumber(before)
end

return { isPlace() and 1 or 0, head.revision, head.mark }
`

/** Takes leases; then verb, name, owner, token, time to live, clock or '' for the server's. */
const LEASE = `
local leases, verb, name, owner = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local token, ttl, now = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function digits(number) return string.format('%.0f', number) end

local lastToken, expiresAt, holder = string.match(redis.call('HGET', leases, name) or '', '^(%d+):(%d+):(.*)$')
lastToken, expiresAt = tonumber(lastToken or 0), tonumber(expiresAt or 0)
local isLive = expiresAt > now
local isMine = isLive and holder == owner

local function keep(newToken, newExpiry)
  redis.call('HSET', leases, name, digits(newToken) .. ':' .. digits(newExpiry) .. ':' .. owner)
  return { newToken, newExpiry, owner }
end

if verb == 'find' then return isLive and { lastToken, expiresAt, holder } or {} end
if verb == 'acquire' then
  if isMine then return keep(lastToken, now + ttl) end
  if isLive then return { lastToken } end
  return keep(math.max(lastToken, token) + 1, now + ttl)
end
if not isMine or token ~= lastToken then return {} end
if verb == 'renew' then return keep(token, now + ttl) end
keep(token, 0)
return {}
`

/** Needs no memory to speak of, or frees some: a Redis that is full must not end every lease and keep every record. */
const ALSO_WHEN_FULL = '#!lua flags=allow-oom\n'

/** As ioredis takes them. */
export const SCRIPTS = {
  landfallCommit: { lua: COMMIT, numberOfKeys: 4 },
  /** A commit that writes no value. */
  landfallDelete: { lua: `${ALSO_WHEN_FULL}${COMMIT}`, numberOfKeys: 4 },
  landfallList: { lua: LIST, numberOfKeys: 4 },
  landfallPlace: { lua: PLACE, numberOfKeys: 4 },
  landfallLease: { lua: `${ALSO_WHEN_FULL}${LEASE}`, numberOfKeys: 1 },
}

/** What each answers; keys first, then arguments. */
export interface Scripts {
  /** 1 and a revision for each mutation, 0 for none; or 0, the index of the mutation that conflicts, and the key's revision. */
  landfallCommit(...keysAndArguments: string[]): Promise<number[]>
  landfallDelete(...keysAndArguments: string[]): Promise<number[]>
  /** Revision, mark and id of the store, keys, rows. */
  landfallList(...keysAndArguments: string[]): Promise<[number, string, string, string[], (string | null)[]]>
  landfallPlace(...keysAndArguments: string[]): Promise<[isPlace: number, revision: number, mark: string]>
  /** Token, Unix milliseconds and owner of a lease; a token alone when somebody else has it; or nothing. */
  landfallLease(...keysAndArguments: string[]): Promise<[token?: number, expiresAt?: number, owner?: string]>
}
