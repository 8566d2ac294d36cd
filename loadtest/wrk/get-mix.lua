-- A mix of GET requests, most of them for the first path.
--
--   make run                                                  (in one terminal)
--   wrk -t2 -c64 -d10s --latency -s loadtest/wrk/get-mix.lua http://127.0.0.1:8080/
--
-- Every path is answered by the sample endpoints.

local mix = {
  { weight = 6, path = "/" },
  { weight = 2, path = "/items/1" },
  { weight = 1, path = "/search?q=bs9" },
  { weight = 1, path = "/healthz" },
}

local requests = {}
local count = 0

function init(args)
  -- Made once: what is sent costs nothing to make.
  for _, entry in ipairs(mix) do
    local request = wrk.format("GET", entry.path)
    for _ = 1, entry.weight do
      requests[#requests + 1] = request
    end
  end
end

function request()
  count = count % #requests + 1
  return requests[count]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "errors: %d connect, %d read, %d write, %d timeout, %d status\n",
    errors.connect, errors.read, errors.write, errors.timeout, errors.status
  ))
end
