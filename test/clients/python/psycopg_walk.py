"""psycopg 3: prepared statements, binary, transactions, pipelines, COPY, cursors, cancel, errors."""
import datetime
import decimal
import threading
import time
import uuid

import psycopg
from psycopg import errors, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

import harness


def connect(url, **options):
    return psycopg.connect(url, **options)


def fresh(connection, name="t"):
    connection.execute(f"DROP TABLE IF EXISTS {name}")
    connection.execute(
        f"CREATE TABLE {name} (id bigserial PRIMARY KEY, name text UNIQUE, n int, x float8, d numeric(12, 3),"
        " at timestamptz, day date, u uuid, meta jsonb, tags text[], raw bytea, yes bool)"
    )
    connection.commit()


def fails(error, work):
    try:
        work()
    except error as raised:
        return raised
    raise AssertionError(f"no {error.__name__}")


def test_values_of_many_types_text_and_binary(url):
    with connect(url) as connection:
        fresh(connection)
        at = datetime.datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=datetime.timezone.utc)
        values = (
            "ü'\\", -7, 2.5, decimal.Decimal("1234.567"), at, datetime.date(2026, 2, 3),
            uuid.UUID("12345678-1234-5678-1234-567812345678"), Jsonb({"a": [1, None]}), ["p", "q r"], b"\x00\xff", True,
        )
        connection.execute(
            "INSERT INTO t (name, n, x, d, at, day, u, meta, tags, raw, yes)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", values)
        connection.execute(
            "INSERT INTO t (name, n, x, d, at, day, u, meta, tags, raw, yes)"
            " VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)", ("second",) + values[1:])
        expected = tuple(v.obj if isinstance(v, Jsonb) else v for v in values)
        for binary in (False, True):
            row = connection.cursor(binary=binary).execute(
                "SELECT name, n, x, d, at, day, u, meta, tags, raw, yes FROM t WHERE id = %s", (1,)).fetchone()
            assert row == expected, row
            row = connection.cursor(binary=binary).execute(
                "SELECT name, n, x, d, at, day, u, meta, tags, raw, yes FROM t WHERE name = %s", ("second",)).fetchone()
            assert row[1:] == expected[1:], row


def test_prepared_statements(url):
    with connect(url) as connection:
        fresh(connection)
        for i in range(20):
            connection.execute("INSERT INTO t (name, n) VALUES (%s, %s)", (f"n{i}", i), prepare=True)
        for i in range(20):
            row = connection.execute("SELECT name FROM t WHERE n = %b", (i,), prepare=True, binary=True).fetchone()
            assert row == (f"n{i}",), row
        rows = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
        assert rows is not None


def test_null_and_unknown_parameters(url):
    with connect(url) as connection:
        assert connection.execute("SELECT %s::text IS NULL, %s::int", (None, None)).fetchone() == (True, None)
        assert connection.execute("SELECT %s || 'b'", ("a",)).fetchone() == ("ab",)
        assert connection.execute("SELECT %s = ANY(%s)", (2, [1, 2])).fetchone() == (True,)


def test_transactions_and_savepoints(url):
    with connect(url) as connection:
        fresh(connection)
        with connection.transaction():
            connection.execute("INSERT INTO t (name) VALUES ('outer')")
            try:
                with connection.transaction():
                    connection.execute("INSERT INTO t (name) VALUES ('inner')")
                    connection.execute("INSERT INTO t (name) VALUES ('outer')")
            except errors.UniqueViolation:
                pass
        assert connection.execute("SELECT name FROM t").fetchall() == [("outer",)]
        connection.rollback()
        connection.execute("DELETE FROM t")
        connection.rollback()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_failed_transaction(url):
    with connect(url) as connection:
        fails(errors.DivisionByZero, lambda: connection.execute("SELECT 1 / 0"))
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        fails(errors.InFailedSqlTransaction, lambda: connection.execute("SELECT 1"))
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_isolation_and_read_only(url):
    with connect(url) as reader, connect(url, autocommit=True) as writer:
        writer.execute("DROP TABLE IF EXISTS iso")
        writer.execute("CREATE TABLE iso (id int)")
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert reader.execute("SELECT count(*) FROM iso").fetchone() == (0,)
        writer.execute("INSERT INTO iso VALUES (1)")
        assert reader.execute("SELECT count(*) FROM iso").fetchone() == (0,)
        reader.commit()
        assert reader.execute("SELECT count(*) FROM iso").fetchone() == (1,)
        reader.commit()
        reader.read_only = True
        fails(errors.ReadOnlySqlTransaction, lambda: reader.execute("INSERT INTO iso VALUES (2)"))


def test_serialization_failure(url):
    with connect(url) as one, connect(url) as two:
        one.autocommit = True
        one.execute("DROP TABLE IF EXISTS ser")
        one.execute("CREATE TABLE ser (id int PRIMARY KEY, n int)")
        one.execute("INSERT INTO ser VALUES (1, 0)")
        two.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        two.execute("SELECT n FROM ser").fetchone()
        one.execute("UPDATE ser SET n = 1")
        fails(errors.SerializationFailure, lambda: two.execute("UPDATE ser SET n = n + 1"))


def test_executemany_and_returning(url):
    with connect(url) as connection:
        fresh(connection)
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO t (name, n) VALUES (%s, %s)", [(f"m{i}", i) for i in range(200)])
        assert cursor.rowcount == 200, cursor.rowcount
        cursor.executemany(
            "INSERT INTO t (name) VALUES (%s) RETURNING id", [("r1",), ("r2",)], returning=True)
        ids = []
        while True:
            ids.append(cursor.fetchone()[0])
            if not cursor.nextset():
                break
        assert ids == [201, 202], ids


def test_pipeline(url):
    with connect(url, autocommit=True) as connection:
        fresh(connection)
        with connection.pipeline() as pipeline:
            cursors = [connection.execute("INSERT INTO t (name, n) VALUES (%s, %s) RETURNING n", (f"p{i}", i)) for i in range(50)]
            pipeline.sync()
            assert [cursor.fetchone()[0] for cursor in cursors] == list(range(50))

        def broken():
            with connection.pipeline():
                connection.execute("INSERT INTO t (name) VALUES ('lost')")
                connection.execute("SELECT nothing")
        fails(errors.UndefinedColumn, broken)
        assert connection.execute("SELECT count(*) FROM t WHERE name = 'lost'").fetchone() == (0,)


def test_copy_text(url):
    with connect(url) as connection:
        fresh(connection)
        with connection.cursor().copy("COPY t (name, n, tags) FROM STDIN") as copy:
            copy.write_row(("a\tb", 1, ["x", "y"]))
            copy.write_row(("c\\d", None, None))
        with connection.cursor().copy("COPY (SELECT name, n, tags FROM t ORDER BY id) TO STDOUT") as copy:
            copy.set_types(["text", "int4", "text[]"])
            assert list(copy.rows()) == [("a\tb", 1, ["x", "y"]), ("c\\d", None, None)]


def test_copy_binary(url):
    with connect(url) as connection:
        fresh(connection)
        at = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        with connection.cursor().copy("COPY t (id, name, x, d, at, meta, tags) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "text", "float8", "numeric", "timestamptz", "jsonb", "text[]"])
            for i in range(1000):
                copy.write_row((i + 1, f"b{i}", i / 2, decimal.Decimal(i), at, Jsonb({"i": i}), [str(i)]))
        assert connection.execute("SELECT count(*), sum(x), sum(d) FROM t").fetchone() == (
            1000, 249750.0, decimal.Decimal("499500.000"))
        with connection.cursor().copy(
            "COPY (SELECT id, name, x, d, at, meta, tags FROM t WHERE id = 8) TO STDOUT (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "text", "float8", "numeric", "timestamptz", "jsonb", "text[]"])
            assert list(copy.rows()) == [(8, "b7", 3.5, decimal.Decimal("7.000"), at, {"i": 7}, ["7"])]


def test_copy_error_leaves_nothing(url):
    with connect(url) as connection:
        fresh(connection)
        def broken():
            with connection.cursor().copy("COPY t (name, n) FROM STDIN") as copy:
                copy.write("good\t1\nbad\tx\n")
        error = fails(errors.InvalidTextRepresentation, broken)
        assert "line 2" in error.diag.context, error.diag.context
        connection.rollback()
        def cancelled():
            with connection.cursor().copy("COPY t (name, n) FROM STDIN") as copy:
                copy.write("good\t1\n")
                raise ValueError("changed my mind")
        fails(ValueError, cancelled)
        connection.rollback()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_server_side_cursor(url):
    with connect(url) as connection:
        fresh(connection)
        connection.execute("INSERT INTO t (name, n) SELECT 's' || i, i FROM generate_series(1, 500) i")
        with connection.cursor("named") as cursor:
            cursor.execute("SELECT n FROM t WHERE n > %s ORDER BY n", (10,))
            assert cursor.fetchmany(3) == [(11,), (12,), (13,)]
            cursor.itersize = 100
            assert len(list(cursor)) == 487
        with connection.cursor("binary_one", binary=True) as cursor:
            cursor.execute("SELECT n, d FROM t ORDER BY n")
            assert cursor.fetchone() == (1, None)


def test_stream(url):
    with connect(url) as connection:
        rows = [row[0] for row in connection.cursor().stream("SELECT i FROM generate_series(1, 1000) i")]
        assert rows == list(range(1, 1001))


def test_cancel(url):
    with connect(url) as connection:
        timer = threading.Timer(0.3, connection.cancel)
        timer.start()
        started = time.monotonic()
        fails(errors.QueryCanceled, lambda: connection.execute("SELECT pg_sleep(20)"))
        assert time.monotonic() - started < 10
        connection.rollback()
        timer = threading.Timer(0.3, lambda: connection.cancel_safe(timeout=5))
        timer.start()
        fails(errors.QueryCanceled, lambda: connection.execute("SELECT pg_sleep(20)"))
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_notifications(url):
    with connect(url, autocommit=True) as listener, connect(url, autocommit=True) as sender:
        listener.execute("LISTEN news")
        sender.execute("NOTIFY news, 'one'")
        sender.execute("SELECT pg_notify('news', 'two')")
        got = [n.payload for n in listener.notifies(timeout=10, stop_after=2)]
        assert got == ["one", "two"], got


def test_errors_and_diagnostics(url):
    with connect(url, autocommit=True) as connection:
        fresh(connection)
        connection.execute("INSERT INTO t (name) VALUES ('a')")
        error = fails(errors.UniqueViolation, lambda: connection.execute("INSERT INTO t (name) VALUES (%s)", ("a",)))
        diag = error.diag
        assert (diag.sqlstate, diag.table_name, diag.constraint_name, diag.schema_name) == (
            "23505", "t", "t_name_key", "public")
        assert diag.message_detail == "Key (name)=(a) already exists."
        error = fails(errors.SyntaxError, lambda: connection.execute("SELECT FROM WHERE"))
        assert error.diag.statement_position == "13", error.diag.statement_position
        fails(errors.UndefinedTable, lambda: connection.execute("SELECT * FROM nowhere"))
        fails(errors.UndefinedFunction, lambda: connection.execute("SELECT no_such_function(1)"))
        fails(errors.NumericValueOutOfRange, lambda: connection.execute("SELECT %s::int2", (100000,)))


def test_notices(url):
    with connect(url, autocommit=True) as connection:
        seen = []
        connection.add_notice_handler(lambda diag: seen.append((diag.severity, diag.message_primary)))
        connection.execute("DROP TABLE IF EXISTS never_there")
        assert seen == [("NOTICE", 'table "never_there" does not exist, skipping')], seen


def test_composed_sql_and_dict_rows(url):
    with connect(url) as connection:
        fresh(connection)
        connection.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier("public", "t"), sql.Identifier("name"), sql.Literal("quo'ted")))
        row = connection.cursor(row_factory=dict_row).execute("SELECT id, name FROM t").fetchone()
        assert row == {"id": 1, "name": "quo'ted"}


def test_description_of_columns(url):
    with connect(url) as connection:
        fresh(connection)
        cursor = connection.execute("SELECT id, d, name FROM t")
        described = [(c.name, c.type_code, c.precision, c.scale) for c in cursor.description]
        assert described == [("id", 20, None, None), ("d", 1700, 12, 3), ("name", 25, None, None)], described


def test_type_info(url):
    with connect(url, autocommit=True) as connection:
        from psycopg.types import TypeInfo
        from psycopg.types.enum import EnumInfo
        from psycopg.types.composite import CompositeInfo
        connection.execute("DROP TYPE IF EXISTS mood; DROP TYPE IF EXISTS pair")
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
        connection.execute("CREATE TYPE pair AS (a int, b text)")
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        assert TypeInfo.fetch(connection, "vector").oid >= 16384
        assert list(EnumInfo.fetch(connection, "mood").labels) == ["sad", "happy"]
        assert list(CompositeInfo.fetch(connection, "pair").field_names) == ["a", "b"]


if __name__ == "__main__":
    harness.run(dict(globals()))
