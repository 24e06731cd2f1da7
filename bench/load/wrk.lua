-- Connects to 127.0.0.1 whatever the name, so that server name and Host are right without a resolver,
-- and reports in one line of JSON, in the units that wrk counts in.

function wrk.resolve(_, service)
   wrk.addrs = wrk.lookup("127.0.0.1", service)
end

function done(summary, latency)
   local errors = summary.errors
   local socket = errors.connect + errors.read + errors.write + errors.timeout
   io.write(string.format(
      '{"requests":%d,"durationMicros":%d,"p99Micros":%d,"socketErrors":%d,"statusErrors":%d}\n',
      summary.requests, summary.duration, latency:percentile(99), socket, errors.status))
end
