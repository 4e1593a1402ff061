-- Replays requests that were written beforehand: each thread reads its own file of records, each a 32-bit length and
-- that many bytes, once and in order. After the given seconds, or at the file's end, nothing more is sent, and what is
-- under way is still answered: so the answers counted are all there will ever be.
--
-- Arguments: path prefix (the thread's number is appended), seconds.
local ffi = require("ffi")

ffi.cdef([[
typedef struct { long seconds; long nanoseconds; } moment;
int clock_gettime(int clock, moment *now);
int open(const char *path, int flags, ...);
long lseek(int file, long offset, int whence);
void *mmap(void *address, size_t length, int protection, int flags, int file, long offset);
]])

local threads = {}

function setup(thread)
  thread:set("part", #threads)
  table.insert(threads, thread)
end

local moment = ffi.new("moment")
local bytes, size, position = nil, 0, 0
local limit, deadline, verified = 0, 0, false
sent, started, ended, exhausted = 0, 0, 0, 0

local function now()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

function init(args)
  local path = args[1] .. "." .. part
  limit = tonumber(args[2])
  local file = ffi.C.open(path, 0)
  assert(file >= 0, "can't open " .. path)
  size = tonumber(ffi.C.lseek(file, 0, 2))
  bytes = ffi.cast("const uint8_t *", ffi.C.mmap(nil, size, 1, 1, file, 0))
  -- wrk asks the first thread once for a request that it only looks at.
  verified = part ~= 0
end

local function record()
  local length = bytes[position] + bytes[position + 1] * 256 + bytes[position + 2] * 65536
  return ffi.string(bytes + position + 4, length), position + 4 + length
end

function request()
  if not verified then
    verified = true
    return (record())
  end
  if started == 0 then
    started = now()
    deadline = started + limit
  end
  if ended > 0 then
    return ""
  end
  if position >= size then
    ended, exhausted = now(), 1
    return ""
  end
  if sent % 8 == 0 and now() >= deadline then
    ended = now()
    return ""
  end
  local text
  text, position = record()
  sent = sent + 1
  return text
end

function done(summary, latency, requests)
  local total, seconds, empty = 0, 0, 0
  for _, thread in ipairs(threads) do
    total = total + thread:get("sent")
    empty = empty + thread:get("exhausted")
    seconds = math.max(seconds, thread:get("ended") - thread:get("started"))
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"sent":%d,"answered":%d,"refused":%d,"broken":%d,"timeouts":%d,"seconds":%.6f,"exhausted":%d,'
      .. '"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
    total, summary.requests, errors.status, errors.connect + errors.read + errors.write, errors.timeout, seconds, empty,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
