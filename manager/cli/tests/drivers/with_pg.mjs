// node-postgres through the pool. The connection comes from the PG* variables; the
// argument is the mode of the pool. Any wrong row ends this with an assertion.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import process from "node:process";

const { Client, Pool } = createRequire(import.meta.url)("pg");
const mode = process.argv[2];

async function withClient(work, settings = {}) {
    const client = new Client(settings);
    await client.connect();
    try {
        return await work(client);
    } finally {
        await client.end();
    }
}

async function parameters() {
    const pool = new Pool({ max: 50 });
    const one = async (n) => {
        const text = "select $1::int as number, $2::text as text, $3::jsonb as json, pg_backend_pid() as pid";
        const { rows } = await pool.query(text, [n, `text ${n}`, JSON.stringify({ n })]);
        assert.equal(rows.length, 1);
        assert.equal(rows[0].number, n);
        assert.equal(rows[0].text, `text ${n}`);
        assert.deepEqual(rows[0].json, { n });
        assert.ok(rows[0].pid > 0);
    };
    await Promise.all(Array.from({ length: 6000 }, (_, n) => one(n)));
    await pool.end();
}

async function simple() {
    const pool = new Pool({ max: 50 });
    const one = async (n) => {
        const { rows } = await pool.query(`select ${n} as number, '${n}' as text`);
        assert.deepEqual(rows, [{ number: n, text: `${n}` }]);
    };
    await Promise.all(Array.from({ length: 2000 }, (_, n) => one(n)));
    const several = await pool.query("select 1 as a; select 2 as b; select 3 as c");
    assert.deepEqual(several.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }], [{ c: 3 }]]);
    await pool.end();
}

async function transactions() {
    const pool = new Pool({ max: 50 });
    await pool.query("drop table if exists node_transactions");
    await pool.query("create table node_transactions (id int primary key)");
    const one = async (n) => {
        const client = await pool.connect();
        try {
            await client.query("begin");
            await client.query("insert into node_transactions values ($1)", [n]);
            const before = (await client.query("select pg_backend_pid() as pid")).rows[0].pid;
            const after = (await client.query("select pg_backend_pid() as pid")).rows[0].pid;
            assert.equal(before, after);
            await client.query(n % 2 ? "rollback" : "commit");
        } finally {
            client.release();
        }
    };
    await Promise.all(Array.from({ length: 500 }, (_, n) => one(n)));
    const { rows } = await pool.query("select id from node_transactions order by id");
    assert.deepEqual(rows.map((row) => row.id), Array.from({ length: 250 }, (_, n) => n * 2));
    await pool.end();
}

async function failures() {
    const pool = new Pool({ max: 20 });
    const one = async (n) => {
        if (n % 3 === 0) {
            await assert.rejects(pool.query("select 1 / $1::int", [0]), { code: "22012" });
        } else if (n % 3 === 1) {
            await assert.rejects(pool.query("selekt"), { code: "42601" });
        } else {
            assert.equal((await pool.query("select $1::int as n", [n])).rows[0].n, n);
        }
    };
    await Promise.all(Array.from({ length: 900 }, (_, n) => one(n)));
    await withClient(async (client) => {
        await client.query("begin");
        await assert.rejects(client.query("select * from no_such_table"), { code: "42P01" });
        await assert.rejects(client.query("select 1"), { code: "25P02" });
        await client.query("rollback");
        assert.deepEqual((await client.query("select 1 as one")).rows, [{ one: 1 }]);
    });
    await assert.rejects(withClient(async () => {}, { password: "wrong" }), { code: "28P01" });
    await assert.rejects(withClient(async () => {}, { database: "no_such_database" }), { code: "3D000" });
    await pool.end();
}

async function largeResults() {
    await withClient(async (client) => {
        const { rows } = await client.query("select n, repeat('x', 100) as text from generate_series(1, 50000) n");
        assert.equal(rows.length, 50000);
        rows.forEach((row, at) => assert.equal(row.n, at + 1));
        const blob = Buffer.alloc(2_000_000, "abcdefg");
        const back = await client.query("select $1::bytea as blob", [blob]);
        assert.ok(blob.equals(back.rows[0].blob));
    });
}

async function named() {
    const pool = new Pool({ max: 20 });
    const one = async (n) => {
        const by = n % 7;
        const query = { name: `times ${by}`, text: `select $1::int * ${by} as n`, values: [n] };
        const { rows } = await pool.query(query);
        assert.deepEqual(rows, [{ n: n * by }]);
    };
    await Promise.all(Array.from({ length: 2000 }, (_, n) => one(n)));
    await pool.end();
}

async function sessionState() {
    await withClient(async (client) => {
        const heard = new Promise((resolve) => client.once("notification", resolve));
        await client.query("listen news");
        await withClient((other) => other.query("notify news, 'hello'"));
        assert.equal((await heard).payload, "hello");
    });
}

const steps = [parameters, simple, transactions, failures, largeResults, named];
if (mode === "session") steps.push(sessionState);
for (const step of steps) {
    console.log(step.name);
    await step();
}
console.log("done");
