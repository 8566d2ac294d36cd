// A mix of GET requests at a constant rate (open loop), most of them for the first path.
//
//   make run                                 (in one terminal)
//   k6 run loadtest/k6/get-mix.js
//   k6 run -e BASE=http://127.0.0.1:8080 -e RATE=1000 loadtest/k6/get-mix.js
//
// Every path is answered by the sample endpoints.

import http from 'k6/http';
import { check } from 'k6';

const BASE = __ENV.BASE || 'http://127.0.0.1:8080';
const MIX = [
  { weight: 6, path: '/' },
  { weight: 2, path: '/items/1' },
  { weight: 1, path: '/search?q=bs9' },
  { weight: 1, path: '/healthz' },
];
const PATHS = MIX.flatMap(({ weight, path }) => Array(weight).fill(path));

export const options = {
  scenarios: {
    mix: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 500),
      timeUnit: '1s',
      duration: '10s',
      preAllocatedVUs: 50,
      maxVUs: 500,
    },
  },
  thresholds: {
    http_req_failed: ['rate<0.001'],
    http_req_duration: ['p(99)<50'],
    checks: ['rate>0.999'],
  },
};

export default function () {
  const path = PATHS[Math.floor(Math.random() * PATHS.length)];
  // One name for all paths: k6 keeps a series for each name.
  const response = http.get(`${BASE}${path}`, { tags: { name: 'mix' } });
  check(response, { 'status is 200': (r) => r.status === 200 });
}
