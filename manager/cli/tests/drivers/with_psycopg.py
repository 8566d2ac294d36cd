"""psycopg 3 through the pool. The connection comes from the PG* variables; the
argument is the mode of the pool. Any wrong row ends this with an assertion."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import errors
from psycopg.pq import DiagnosticField, ExecStatus

MODE = sys.argv[1]
# Runs after which psycopg prepares a statement on the server.
THRESHOLD = 2
PATIENCE_SECONDS = 60


def connect(**settings):
    settings.setdefault("autocommit", True)
    return psycopg.connect("", prepare_threshold=THRESHOLD, **settings)


def until(holds):
    """Asks again until it holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.01)


def own_rows(client):
    """A client's rows are its own, whoever it shares server connections with."""
    name = f"client {client}"
    with connect(application_name=name) as conn:
        conn.execute("set timezone to %s" % (f"'Etc/GMT+{client % 12 + 1}'",))
        zone = f"Etc/GMT+{client % 12 + 1}"
        for turn in range(150):
            value = client * 1_000_000 + turn
            row = conn.execute(
                "select %s::int, %s::text, current_setting('application_name'),"
                " current_setting('TimeZone'), pg_backend_pid() > 0",
                (value, f"text {value}"),
            ).fetchone()
            assert row == (value, f"text {value}", name, zone, True), (client, turn, row)
        with conn.transaction():
            pids = {conn.execute("select pg_backend_pid()").fetchone()[0] for _ in range(20)}
        assert len(pids) == 1, "a transaction stays on its server connection"
    return 150


def concurrency():
    with ThreadPoolExecutor(24) as threads:
        assert sum(threads.map(own_rows, range(24))) == 24 * 150


def pipeline():
    with connect() as conn:
        with conn.pipeline():
            cursors = [conn.execute("select %s::int * 2", (n,)) for n in range(500)]
            rows = [cursor.fetchone()[0] for cursor in cursors]
        assert rows == [n * 2 for n in range(500)]
        # An error spoils what is behind it up to the next synchronisation, and no more.
        # By libpq itself: when psycopg raises depends on what has arrived.
        raw = conn.pgconn
        raw.enter_pipeline_mode()
        for batch in [["select 'before'"], ["select 1 / 0", "select 'behind'"], ["select 'after'"]]:
            for statement in batch:
                raw.send_query_params(statement.encode(), None)
            raw.pipeline_sync()
        assert raw.flush() == 0
        got = []
        while len(got) < 7:
            if (result := raw.get_result()) is not None:
                value = result.get_value(0, 0) if result.ntuples else result.error_field(DiagnosticField.SQLSTATE)
                got.append((ExecStatus(result.status), value))
        synchronised = (ExecStatus.PIPELINE_SYNC, None)
        assert got == [
            (ExecStatus.TUPLES_OK, b"before"),
            synchronised,
            (ExecStatus.FATAL_ERROR, b"22012"),
            (ExecStatus.PIPELINE_ABORTED, None),
            synchronised,
            (ExecStatus.TUPLES_OK, b"after"),
            synchronised,
        ], got
        raw.exit_pipeline_mode()
        assert conn.execute("select 42").fetchone() == (42,)


def pipelines_at_once():
    def one(client):
        with connect() as conn:
            for turn in range(20):
                base = client * 100_000 + turn * 100
                with conn.pipeline():
                    cursors = [conn.execute("select %s::int", (base + n,)) for n in range(50)]
                    got = [cursor.fetchone()[0] for cursor in cursors]
                assert got == [base + n for n in range(50)], (client, turn)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(one, range(16)))


def copy():
    rows = [(n, f"line {n}\twith\\odd \n characters é") for n in range(20_000)]
    with connect() as conn:
        conn.execute("drop table if exists psycopg_copy")
        conn.execute("create table psycopg_copy (id int, line text)")
        with conn.cursor().copy("copy psycopg_copy from stdin") as out:
            for row in rows:
                out.write_row(row)
        with conn.cursor().copy("copy (select * from psycopg_copy order by id) to stdout") as lines:
            lines.set_types(["int4", "text"])
            assert list(lines.rows()) == rows
        try:
            with conn.cursor().copy("copy psycopg_copy from stdin") as out:
                out.write("not a number\tx\n" * 50_000)
            raise AssertionError("an error was expected")
        except errors.InvalidTextRepresentation:
            pass
        try:
            with conn.cursor().copy("copy psycopg_copy from stdin") as out:
                out.write_row((1, "x"))
                raise KeyError("changed its mind")
        except KeyError:
            pass
        assert conn.execute("select count(*) from psycopg_copy").fetchone() == (len(rows),)
        try:
            with conn.cursor().copy("copy (select generate_series(1, 1000000000)) to stdout") as lines:
                for at, _ in enumerate(lines):
                    if at == 1000:
                        conn.cancel()
            raise AssertionError("an error was expected")
        except errors.QueryCanceled:
            pass
        assert conn.execute("select 7").fetchone() == (7,)


def cursor_on_the_server():
    with connect(autocommit=False) as conn:
        with conn.cursor(name="far") as cursor:
            cursor.itersize = 100
            cursor.execute("select n, n * n from generate_series(1, 5000) n")
            assert [tuple(row) for row in cursor] == [(n, n * n) for n in range(1, 5001)]
        with conn.cursor(name="scrolling", scrollable=True) as cursor:
            cursor.execute("select generate_series(1, 100)")
            cursor.scroll(49)
            assert cursor.fetchone() == (50,)
            cursor.scroll(-10)
            assert cursor.fetchone() == (41,)
        conn.commit()


def notices():
    with connect() as conn:
        heard = []
        conn.add_notice_handler(lambda notice: heard.append((notice.severity, notice.message_primary)))
        for n in range(20):
            conn.execute(f"do $$ begin raise notice 'number {n}'; raise warning 'beware {n}'; end $$")
        wanted = [entry for n in range(20) for entry in (("NOTICE", f"number {n}"), ("WARNING", f"beware {n}"))]
        assert heard == wanted, heard


def cancel():
    with connect() as conn, connect() as witness:
        for turn in range(5):
            mark = f"select pg_sleep(600), 'cancelled {turn}'"

            def stop():
                deadline = time.monotonic() + PATIENCE_SECONDS
                running = "select count(*) from pg_stat_activity where query = %s and state = 'active'"
                while witness.execute(running, (mark,)).fetchone() != (1,):
                    assert time.monotonic() < deadline, "the query never ran"
                conn.cancel()

            stopper = threading.Thread(target=stop)
            stopper.start()
            try:
                conn.execute(mark)
                raise AssertionError("an error was expected")
            except errors.QueryCanceled:
                pass
            stopper.join()
            assert conn.execute("select %s::int", (turn,)).fetchone() == (turn,)
            # A cancel that finds nothing to cancel hits nobody else.
            conn.cancel()
            assert witness.execute("select 'unharmed'").fetchone() == ("unharmed",)


def failures():
    with connect(autocommit=False) as conn:
        for statement, wanted in [
            ("select 1 / 0", errors.DivisionByZero),
            ("selekt", errors.SyntaxError),
            ("select * from no_such_table", errors.UndefinedTable),
        ]:
            try:
                conn.execute(statement)
                raise AssertionError("an error was expected")
            except wanted:
                pass
            try:
                conn.execute("select 1")
                raise AssertionError("an error was expected")
            except errors.InFailedSqlTransaction:
                pass
            conn.rollback()
        with conn.transaction():
            conn.execute("select 1")
            try:
                with conn.transaction():
                    conn.execute("select 1 / 0")
            except errors.DivisionByZero:
                pass
            assert conn.execute("select 'the savepoint held'").fetchone() == ("the savepoint held",)
    try:
        connect(password="wrong")
        raise AssertionError("an error was expected")
    except psycopg.OperationalError as refusal:
        assert "password authentication failed" in str(refusal), refusal


def large_values():
    blob = bytes(n % 251 for n in range(3_000_000))
    with connect() as conn:
        for binary in (False, True):
            cursor = conn.cursor(binary=binary)
            row = cursor.execute("select %b::bytea, md5(%b::bytea)", (blob, blob)).fetchone()
            assert row[0] == blob


def prepared():
    """More statements than are kept: psycopg lets go of the oldest with DEALLOCATE."""

    def one(client):
        with connect() as conn:
            conn.prepared_max = 10
            for turn in range(40):
                for n in range(15):
                    row = conn.execute(f"select {n}, %s::int + {client % 3}", (turn,), prepare=True).fetchone()
                    assert row == (n, turn + client % 3), (client, turn, row)
                if turn % 10 == 9:
                    with conn.pipeline():
                        cursors = [conn.execute(f"select {n}, %s::text", (turn,), prepare=True) for n in range(15)]
                        assert [c.fetchone() for c in cursors] == [(n, str(turn)) for n in range(15)]
            conn.execute("deallocate all")
            conn.prepare_threshold = None
            assert conn.execute("select 1").fetchone() == (1,)

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(one, range(12)))


def session_state():
    """What only a session keeps."""
    with connect() as conn, connect() as other:
        conn.execute("create temp table mine (n int)")
        conn.execute("insert into mine select generate_series(1, 10)")
        for _ in range(20):
            assert conn.execute("select sum(n) from mine").fetchone() == (55,)
        assert conn.execute("select count(*) from pg_prepared_statements").fetchone()[0] > 0
        conn.execute("listen news")
        other.execute("notify news, 'hello'")
        heard = next(conn.notifies(timeout=PATIENCE_SECONDS))
        assert (heard.channel, heard.payload) == ("news", "hello")
        conn.execute("select pg_advisory_lock(77)")
        assert other.execute("select pg_try_advisory_lock(77)").fetchone() == (False,)
    with connect() as fresh:
        # Whatever server connection this is, nothing of the others is left on it. The one that
        # holds the lock is reset after its client has left, maybe a moment later.
        until(lambda: fresh.execute("select pg_try_advisory_lock(77)").fetchone() == (True,))
        assert fresh.execute("select to_regclass('pg_temp.mine')").fetchone() == (None,)


def shared_listen():
    """Many listen at once, more than there are servers; each hears what it is told, once and in order."""
    turns = [f"turn {turn}" for turn in range(20)]
    with connect() as teller:
        listeners = [connect() for _ in range(30)]
        for n, conn in enumerate(listeners):
            conn.execute("listen everybody")
            conn.execute(f'listen "own {n}"')

        def tell(channel, text):
            teller.execute("select pg_notify(%s, %s)", (channel, text))

        def heard_up_to(conn, last):
            heard = []
            for note in conn.notifies(timeout=PATIENCE_SECONDS):
                heard.append((note.channel, note.payload))
                if note.payload == last:
                    return heard
            raise AssertionError(f"never heard {last}: {heard}")

        # No server is kept for them, and none of those they are lent listens.
        for conn in listeners:
            assert conn.execute("select count(*) from pg_listening_channels()").fetchone() == (0,)
        for turn in turns:
            tell("everybody", turn)
        for n in range(len(listeners)):
            tell(f"own {n}", "yours")
        with teller.transaction(force_rollback=True):
            tell("everybody", "never said")
        tell("everybody", "the end")
        for n, conn in enumerate(listeners):
            wanted = [("everybody", turn) for turn in turns] + [(f"own {n}", "yours"), ("everybody", "the end")]
            assert heard_up_to(conn, "the end") == wanted, n
        first, second = listeners[:2]
        first.execute("unlisten everybody")
        # What is told in a transaction comes when that is over.
        with second.transaction():
            tell("everybody", "meanwhile")
            tell("own 0", "fence")
            assert heard_up_to(first, "fence") == [("own 0", "fence")]
            assert second.execute("select 'inside'").fetchone() == ("inside",)
        assert heard_up_to(second, "meanwhile") == [("everybody", "meanwhile")]
        for conn in listeners:
            conn.close()


steps = [concurrency, pipeline, pipelines_at_once, copy, cursor_on_the_server, notices, cancel, failures]
steps += [large_values, prepared]
steps.append(session_state if MODE == "session" else shared_listen)
for step in steps:
    print(step.__name__, flush=True)
    step()
print("done")
