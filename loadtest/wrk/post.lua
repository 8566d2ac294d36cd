-- POST requests with a JSON body.
--
--   make run                                                  (in one terminal)
--   wrk -t2 -c64 -d10s --latency -s loadtest/wrk/post.lua http://127.0.0.1:8080/orders

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"item": 1, "count": 2, "note": "from wrk"}'
