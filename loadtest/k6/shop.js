// People in a shop, the same as loadtest/scenarios/shop.toml: ever more of them (ramping VUs), who
// think between requests; some of them buy.
//
//   make run                                 (in one terminal)
//   k6 run loadtest/k6/shop.js

import http from 'k6/http';
import { check, group, sleep } from 'k6';
import { SharedArray } from 'k6/data';

const BASE = __ENV.BASE || 'http://127.0.0.1:8080';

// Read once for all virtual users.
const USERS = new SharedArray('users', () => {
  const [, ...rows] = open('../scenarios/users.csv').trim().split('\n');
  return rows.map((row) => {
    const [id, name, city] = row.split(',');
    return { id: Number(id), name, city };
  });
});

export const options = {
  scenarios: {
    shop: {
      executor: 'ramping-vus',
      startVUs: 1,
      stages: [
        { duration: '10s', target: 50 },
        { duration: '20s', target: 50 },
        { duration: '10s', target: 0 },
      ],
      gracefulRampDown: '2s',
    },
  },
  thresholds: {
    http_req_failed: ['rate<0.001'],
    http_req_duration: ['p(95)<100'],
    'http_req_duration{name:order}': ['p(99)<200'],
    checks: ['rate>0.999'],
  },
};

export default function () {
  // A virtual user is one person.
  const user = USERS[(__VU - 1) % USERS.length];
  const params = (name) => ({
    headers: { 'Content-Type': 'application/json', 'X-User': String(user.id) },
    tags: { name },
  });
  group('look around', () => {
    const near = encodeURIComponent(user.city);
    const pages = http.batch([
      ['GET', `${BASE}/`, null, params('front page')],
      ['GET', `${BASE}/search?q=shoes&near=${near}`, null, params('search')],
    ]);
    check(pages, { 'all pages are there': (all) => all.every((page) => page.status === 200) });
  });
  sleep(0.05 + Math.random() * 0.15);
  if (Math.random() < 0.1) {
    group('buy', () => {
      const order = JSON.stringify({ user: user.id, city: user.city, items: [1, 2, 3] });
      const response = http.post(`${BASE}/users/${user.id}/orders`, order, params('order'));
      check(response, { 'it was taken': (r) => r.status === 200 && r.json('method') === 'POST' });
    });
    sleep(0.5);
  }
}
