// Ever more requests a second (open loop), until latency or errors say that it is enough: then k6
// ends the run itself (abortOnFail).
//
//   make run                                 (in one terminal)
//   k6 run loadtest/k6/steps.js
//   k6 run -e BASE=http://127.0.0.1:8080 -e MOST=5000 loadtest/k6/steps.js

import http from 'k6/http';
import { check } from 'k6';

const BASE = __ENV.BASE || 'http://127.0.0.1:8080';
const MOST = Number(__ENV.MOST || 2000);

export const options = {
  scenarios: {
    steps: {
      executor: 'ramping-arrival-rate',
      startRate: MOST / 10,
      timeUnit: '1s',
      preAllocatedVUs: 100,
      maxVUs: 1000,
      stages: [
        { duration: '5s', target: MOST / 4 },
        { duration: '10s', target: MOST / 4 },
        { duration: '5s', target: MOST },
        { duration: '10s', target: MOST },
      ],
    },
  },
  thresholds: {
    http_req_failed: [{ threshold: 'rate<0.01', abortOnFail: true, delayAbortEval: '2s' }],
    http_req_duration: [{ threshold: 'p(95)<250', abortOnFail: true, delayAbortEval: '2s' }],
    dropped_iterations: ['count<1'],
  },
  summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

export default function () {
  const response = http.get(`${BASE}/items/1`);
  check(response, {
    'status is 200': (r) => r.status === 200,
    'it is the right one': (r) => r.json('path') === '/items/1',
  });
}
