-- More quantiles than wrk tells by itself, in the line that the bench reads.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"units":%d,"errors":%d,"elapsed":%d,"p50":%d,"p90":%d,"p99":%d,"p99_9":%d}\n',
    summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    summary.duration,
    latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency:percentile(99.9)))
end
