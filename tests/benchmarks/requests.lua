-- Sends the requests of a plan in order. A plan is a row of "<length>\n<bytes of one HTTP request>"; "once" stops at its end.
local ffi = require("ffi")
ffi.cdef[[ typedef struct { long tv_sec; long tv_nsec; } timespec_of_plan; int clock_gettime(int clock, timespec_of_plan *now); ]]

local threads, plan, at = {}, {}, 0

local function seconds()
  local now = ffi.new("timespec_of_plan")
  ffi.C.clock_gettime(1, now)
  return tonumber(now.tv_sec) + tonumber(now.tv_nsec) / 1e9
end

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    plan[#plan + 1] = file:read(length)
  end
  file:close()
  if args[2] == "once" then
    local answered, open = 0, tonumber(args[3])
    began = seconds()
    response = function()
      answered = answered + 1
      if answered == #plan - open - 1 then
        took = seconds() - began
        wrk.thread:stop()
      end
    end
  end
end

function request()
  at = at % #plan + 1
  return plan[at]
end

function done(summary, latency, _requests)
  -- wrk sleeps to the end of the time that it was given, even when all its threads have stopped
  local took = threads[1]:get("took") or summary.duration / 1e6
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  local form = '\nRESULT {"requests":%d,"seconds":%f,"failed":%d,"p50":%f,"p99":%f}\n'
  io.write(form:format(summary.requests, took, failed, latency:percentile(50), latency:percentile(99)))
end
