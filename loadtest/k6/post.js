// POST requests with a JSON body, from users that ramp up and down (closed loop).
//
//   make run                                 (in one terminal)
//   k6 run loadtest/k6/post.js

import http from 'k6/http';
import { check } from 'k6';

const BASE = __ENV.BASE || 'http://127.0.0.1:8080';
const BODY = JSON.stringify({ item: 1, count: 2, note: 'from k6' });
const PARAMS = { headers: { 'Content-Type': 'application/json' } };

export const options = {
  stages: [
    { duration: '3s', target: 50 },
    { duration: '10s', target: 50 },
    { duration: '2s', target: 0 },
  ],
  thresholds: {
    http_req_failed: ['rate<0.001'],
    http_req_duration: ['p(99)<50'],
  },
};

export default function () {
  const response = http.post(`${BASE}/orders`, BODY, PARAMS);
  check(response, {
    'status is 200': (r) => r.status === 200,
    'it was a POST': (r) => r.json('method') === 'POST',
  });
}
