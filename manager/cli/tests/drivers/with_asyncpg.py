"""asyncpg through the pool. The connection comes from the PG* variables; the
argument is the mode of the pool. Any wrong row ends this with an assertion."""

import asyncio
import io
import sys

import asyncpg

MODE = sys.argv[1]
# Statements kept for each connection; with some runs, none.
CACHED = {"cached": {}, "few": {"statement_cache_size": 3}, "not cached": {"statement_cache_size": 0}}
OPTIONS = dict(CACHED["cached"])
CLIENTS = 50


async def connect(**settings):
    return await asyncpg.connect(ssl=False, **OPTIONS, **settings)


async def concurrency():
    """A client's rows are its own, whoever it shares server connections with."""

    async def one(client):
        name = f"client {client}"
        conn = await connect(server_settings={"application_name": name})
        for turn in range(100):
            value = client * 1_000_000 + turn
            row = await conn.fetchrow(
                "select $1::int a, $2::text b, current_setting('application_name') c", value, f"text {value}"
            )
            assert tuple(row) == (value, f"text {value}", name), (client, turn, row)
            if turn % 10 == 0:
                rows = await conn.fetch("select $1::int + n v from generate_series(1, 100) n", value)
                assert [row["v"] for row in rows] == [value + n for n in range(1, 101)]
        async with conn.transaction():
            pids = {await conn.fetchval("select pg_backend_pid()") for _ in range(10)}
        assert len(pids) == 1, "a transaction stays on its server connection"
        await conn.close()
        return 100

    assert sum(await asyncio.gather(*map(one, range(CLIENTS)))) == CLIENTS * 100


async def its_own_pool():
    """asyncpg's pool resets each connection when it is given back."""
    async with asyncpg.create_pool(ssl=False, min_size=5, max_size=CLIENTS, **OPTIONS) as pool:

        async def one(n):
            assert await pool.fetchval("select $1::bigint * 3", n) == n * 3

        await asyncio.gather(*map(one, range(2000)))


async def transactions():
    conn = await connect()
    await conn.execute("drop table if exists asyncpg_transactions")
    await conn.execute("create table asyncpg_transactions (id int primary key)")
    await conn.close()

    async def one(client):
        conn = await connect()
        for turn in range(20):
            number = client * 100 + turn
            try:
                async with conn.transaction():
                    await conn.execute("insert into asyncpg_transactions values ($1)", number)
                    if turn % 2:
                        await conn.fetchval("select 1 / 0")
            except asyncpg.DivisionByZeroError:
                assert turn % 2
        await conn.close()

    await asyncio.gather(*map(one, range(CLIENTS)))
    conn = await connect()
    rows = await conn.fetch("select id from asyncpg_transactions order by id")
    assert [row["id"] for row in rows] == [c * 100 + t for c in range(CLIENTS) for t in range(0, 20, 2)]
    await conn.close()


async def copy():
    conn = await connect()
    await conn.execute("drop table if exists asyncpg_copy")
    await conn.execute("create table asyncpg_copy (id int, line text)")
    rows = [(n, f"line {n}\twith\\odd \n characters é") for n in range(20_000)]
    # In one transaction: asyncpg asks the table's types first.
    async with conn.transaction():
        await conn.copy_records_to_table("asyncpg_copy", records=rows)
    got = await conn.fetch("select * from asyncpg_copy order by id")
    assert [tuple(row) for row in got] == rows
    out = io.BytesIO()
    await conn.copy_from_query("select id from asyncpg_copy where id < $1 order by id", 10_000, output=out)
    assert out.getvalue() == b"".join(b"%d\n" % n for n in range(10_000))
    try:
        await conn.copy_to_table("asyncpg_copy", source=io.BytesIO(b"not a number\tx\n" * 50_000))
        raise RuntimeError("an error was expected")
    except asyncpg.InvalidTextRepresentationError:
        pass
    assert await conn.fetchval("select count(*) from asyncpg_copy") == len(rows)
    await conn.close()


async def cursors():
    async def one(client):
        conn = await connect()
        async with conn.transaction():
            got = []
            async for row in conn.cursor("select $1::int + n v from generate_series(1, 1000) n", client, prefetch=50):
                got.append(row["v"])
            assert got == [client + n for n in range(1, 1001)]
            cursor = await conn.cursor("select generate_series(1, 100)")
            assert [row[0] for row in await cursor.fetch(10)] == list(range(1, 11))
            await cursor.forward(40)
            assert [row[0] for row in await cursor.fetch(2)] == [51, 52]
        await conn.close()

    await asyncio.gather(*map(one, range(20)))


async def cancel():
    """asyncpg cancels what nobody waits for any more, over a connection of its own."""
    conn, observer = await connect(), await connect()
    for turn in range(5):
        sleep = f"select pg_sleep(600), {turn}"
        sleeping = asyncio.create_task(conn.fetchval(sleep))
        running = "select count(*) from pg_stat_activity where query = $1 and wait_event = 'PgSleep'"
        # A request that comes before the server runs anything cancels nothing.
        while not await observer.fetchval(running, sleep):
            pass
        sleeping.cancel()
        try:
            await sleeping
            raise RuntimeError("an error was expected")
        except asyncio.CancelledError:
            pass
        assert await conn.fetchval("select $1::int", turn) == turn
    await conn.close()
    await observer.close()


async def failures():
    conn = await connect()
    for statement, wanted in [
        ("select 1 / 0", asyncpg.DivisionByZeroError),
        ("selekt", asyncpg.PostgresSyntaxError),
        ("select * from no_such_table", asyncpg.UndefinedTableError),
    ]:
        for run in (conn.execute, conn.fetch):
            try:
                await run(statement)
                raise RuntimeError("an error was expected")
            except wanted:
                pass
        assert await conn.fetchval("select 1") == 1
    await conn.close()
    try:
        await connect(password="wrong")
        raise RuntimeError("an error was expected")
    except asyncpg.InvalidPasswordError:
        pass


async def session_state():
    """What only a session keeps."""
    conn = await connect()
    prepared = await conn.prepare("select $1::int * 2")
    assert [await prepared.fetchval(n) for n in range(100)] == [n * 2 for n in range(100)]
    heard = asyncio.get_running_loop().create_future()
    await conn.add_listener("news", lambda _conn, _pid, _channel, text: heard.set_result(text))
    other = await connect()
    await other.execute("notify news, 'hello'")
    assert await asyncio.wait_for(heard, 60) == "hello"
    await other.close()
    await conn.close()


async def main():
    steps = [concurrency, its_own_pool, transactions, copy, cursors, cancel, failures]
    if MODE == "session":
        steps.append(session_state)
    for kept, options in CACHED.items():
        OPTIONS.clear()
        OPTIONS.update(options)
        for step in steps:
            print(step.__name__, kept, flush=True)
            await step()
    print("done")


asyncio.run(main())
