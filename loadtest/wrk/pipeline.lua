-- Several GET requests at once on each connection (pipelining, RFC 9112 section 9.3.2).
--
--   make run                                                  (in one terminal)
--   wrk -t2 -c64 -d10s --latency -s loadtest/wrk/pipeline.lua http://127.0.0.1:8080/
--   wrk -t2 -c64 -d10s -s loadtest/wrk/pipeline.lua http://127.0.0.1:8080/ -- 16
--
-- The number behind `--` says how many, 8 unless given. wrk measures latency from when the whole
-- batch was sent: only the throughput compares with other runs.

local batch

function init(args)
  local depth = tonumber(args[1]) or 8
  local requests = {}
  for index = 1, depth do
    requests[index] = wrk.format("GET", "/items/" .. index)
  end
  -- Made once: what is sent costs nothing to make.
  batch = table.concat(requests)
end

function request()
  return batch
end
