import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;

/** pgjdbc against the server named by its URL; prints one line per check: "ok name" or "FAIL name: why". */
public final class JdbcWalk {
  interface Check {
    void run(Connection connection) throws Exception;
  }

  private static String url;

  public static void main(String[] arguments) {
    url = arguments[0];
    check("prepared statements on the server from the first execution", "prepareThreshold=1", JdbcWalk::prepared);
    check("prepared statements after five executions, binary transfer", "prepareThreshold=5", JdbcWalk::prepared);
    check("prepared statements never kept on the server", "prepareThreshold=0", JdbcWalk::prepared);
    check("simple protocol", "preferQueryMode=simple", JdbcWalk::prepared);
    check("many types", "prepareThreshold=-1", JdbcWalk::manyTypes);
    check("vector searches", "prepareThreshold=1", JdbcWalk::vectors);
    check("batches and generated keys", "", JdbcWalk::batches);
    check("rewritten batches", "reWriteBatchedInserts=true", JdbcWalk::batches);
    check("a failing batch", "", JdbcWalk::failingBatch);
    check("transactions and savepoints", "", JdbcWalk::transactions);
    check("autosave", "autosave=always", JdbcWalk::autosave);
    check("cursors by fetch size", "defaultRowFetchSize=7", JdbcWalk::cursors);
    check("copy manager", "", JdbcWalk::copy);
    check("tables and columns in the metadata", "", JdbcWalk::tablesAndColumns);
    check("keys and indexes in the metadata", "", JdbcWalk::keysAndIndexes);
    check("types, schemas and functions in the metadata", "", JdbcWalk::otherMetadata);
    check("metadata of results", "", JdbcWalk::resultMetadata);
    check("updatable results", "", JdbcWalk::updatable);
    check("query timeout and cancel", "", JdbcWalk::cancel);
    check("states of errors", "", JdbcWalk::errors);
    check("arrays", "", JdbcWalk::arrays);
    check("connection checks", "", JdbcWalk::connectionChecks);
  }

  private static void check(String name, String options, Check check) {
    Properties properties = new Properties();
    properties.setProperty("user", "postgres");
    for (String option : options.split("&")) {
      int at = option.indexOf('=');
      if (at > 0) properties.setProperty(option.substring(0, at), option.substring(at + 1));
    }
    try (Connection connection = DriverManager.getConnection(url, properties)) {
      check.run(connection);
      System.out.println("ok " + name);
    } catch (Throwable error) {
      StringBuilder where = new StringBuilder();
      for (StackTraceElement frame : error.getStackTrace()) {
        if (frame.getClassName().startsWith("JdbcWalk")) where.append(" at line ").append(frame.getLineNumber());
      }
      System.out.println("FAIL " + name + ": " + String.valueOf(error).replace('\n', ' ') + where);
    }
    System.out.flush();
  }

  private static void run(Connection connection, String... statements) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      for (String sql : statements) statement.execute(sql);
    }
  }

  private static void same(Object expected, Object actual) {
    if (!java.util.Objects.equals(expected, actual)) {
      throw new AssertionError("expected <" + expected + ">, got <" + actual + ">");
    }
  }

  private static Object single(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      rows.next();
      return rows.getObject(1);
    }
  }

  private static void fresh(Connection connection) throws SQLException {
    run(connection, "DROP VIEW IF EXISTS seen", "DROP TABLE IF EXISTS lines", "DROP TABLE IF EXISTS things",
        "CREATE TABLE things (id bigserial PRIMARY KEY, name varchar(40) NOT NULL UNIQUE, n int DEFAULT 7, price numeric(10,2))");
  }

  private static void prepared(Connection connection) throws SQLException {
    fresh(connection);
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO things (name, n, price) VALUES (?, ?, ?)")) {
      for (int i = 0; i < 12; i++) {
        insert.setString(1, "t" + i);
        insert.setInt(2, i);
        insert.setBigDecimal(3, new BigDecimal(i + ".25"));
        same(1, insert.executeUpdate());
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT id, name, n, price FROM things WHERE n = ?")) {
      for (int i = 0; i < 12; i++) {
        select.setInt(1, i);
        try (ResultSet rows = select.executeQuery()) {
          same(true, rows.next());
          same((long) i + 1, rows.getLong("id"));
          same("t" + i, rows.getString("name"));
          same(i, rows.getInt(3));
          same(new BigDecimal(i + ".25"), rows.getBigDecimal(4));
          same(false, rows.next());
        }
      }
    }
    try (PreparedStatement limited = connection.prepareStatement("SELECT name FROM things WHERE name LIKE ? ORDER BY id LIMIT ? OFFSET ?")) {
      for (int i = 0; i < 8; i++) {
        limited.setString(1, "t%");
        limited.setInt(2, 2);
        limited.setLong(3, i);
        try (ResultSet rows = limited.executeQuery()) {
          rows.next();
          same("t" + i, rows.getString(1));
          same(true, rows.next());
          same(false, rows.next());
        }
      }
    }
  }

  private static void manyTypes(Connection connection) throws SQLException {
    run(connection, "DROP TABLE IF EXISTS kinds",
        "CREATE TABLE kinds (a int2, b int4, c int8, d float4, e float8, f numeric, g text, h bytea, i bool, j date, k timestamp,"
            + " l timestamptz, m uuid, n jsonb, o time, p \"char\", q oid, r name, s interval)");
    OffsetDateTime at = OffsetDateTime.of(2026, 1, 2, 3, 4, 5, 678000000, ZoneOffset.UTC);
    UUID uuid = UUID.randomUUID();
    PGobject json = new PGobject();
    json.setType("jsonb");
    json.setValue("{\"a\": 1}");
    for (int round = 0; round < 7; round++) {
      try (PreparedStatement insert = connection.prepareStatement(
          "INSERT INTO kinds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'x', 26, 'nm', ?::interval)")) {
        insert.setShort(1, (short) -3);
        insert.setInt(2, 70000);
        insert.setLong(3, 1L << 40);
        insert.setFloat(4, 1.5f);
        insert.setDouble(5, 2.25);
        insert.setBigDecimal(6, new BigDecimal("12345.678900"));
        insert.setString(7, "ü\n");
        insert.setBytes(8, new byte[] {0, -1, 5});
        insert.setBoolean(9, true);
        insert.setObject(10, LocalDate.of(2026, 2, 3));
        insert.setTimestamp(11, Timestamp.valueOf("2026-01-02 03:04:05.678"));
        insert.setObject(12, at);
        insert.setObject(13, uuid);
        insert.setObject(14, json);
        insert.setObject(15, java.time.LocalTime.of(1, 2, 3));
        insert.setString(16, "1 day 02:00:00");
        same(1, insert.executeUpdate());
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT * FROM kinds")) {
      for (int round = 0; round < 7; round++) {
        try (ResultSet rows = select.executeQuery()) {
          rows.next();
          same((short) -3, rows.getShort(1));
          same(70000, rows.getInt(2));
          same(1L << 40, rows.getLong(3));
          same(1.5f, rows.getFloat(4));
          same(2.25, rows.getDouble(5));
          same(new BigDecimal("12345.678900"), rows.getBigDecimal(6));
          same("ü\n", rows.getString(7));
          same("[0, -1, 5]", Arrays.toString(rows.getBytes(8)));
          same(true, rows.getBoolean(9));
          same(LocalDate.of(2026, 2, 3), rows.getObject(10, LocalDate.class));
          same(Timestamp.valueOf("2026-01-02 03:04:05.678"), rows.getTimestamp(11));
          same(at, rows.getObject(12, OffsetDateTime.class));
          same(uuid, rows.getObject(13));
          same("{\"a\": 1}", rows.getString(14));
          same(java.time.LocalTime.of(1, 2, 3), rows.getObject(15, java.time.LocalTime.class));
          same("x", rows.getString(16));
          same(26L, rows.getLong(17));
          same("nm", rows.getString(18));
          same("0 years 0 mons 1 days 2 hours 0 mins 0.0 secs", rows.getObject(19).toString());
        }
      }
    }
  }

  private static void vectors(Connection connection) throws SQLException {
    run(connection, "CREATE EXTENSION IF NOT EXISTS vector", "DROP TABLE IF EXISTS items",
        "CREATE TABLE items (id bigserial PRIMARY KEY, cat int, embedding vector(3))");
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO items (cat, embedding) VALUES (?, ?::vector)")) {
      for (int i = 0; i < 20; i++) {
        insert.setInt(1, i % 2);
        insert.setString(2, "[" + i + ",0,1]");
        insert.executeUpdate();
      }
    }
    PGobject query = new PGobject();
    query.setType("vector");
    query.setValue("[7,0,1]");
    try (PreparedStatement search = connection.prepareStatement(
            "SELECT id, embedding, embedding <-> ? AS d FROM items WHERE cat = ? ORDER BY embedding <-> ? LIMIT ?")) {
      for (int round = 0; round < 7; round++) {
        search.setObject(1, query);
        search.setInt(2, 1);
        search.setObject(3, query);
        search.setInt(4, 2);
        try (ResultSet rows = search.executeQuery()) {
          rows.next();
          same(8L, rows.getLong(1));
          same("[7,0,1]", rows.getString(2));
          same(0.0, rows.getDouble(3));
          same(true, rows.next());
          same(2.0, rows.getDouble(3));
        }
      }
    }
    try (PreparedStatement other = connection.prepareStatement("SELECT id FROM items ORDER BY embedding <-> ? LIMIT 1")) {
      other.setObject(1, "[3,0,1]", Types.OTHER);
      try (ResultSet rows = other.executeQuery()) {
        rows.next();
        same(4L, rows.getLong(1));
      }
    }
  }

  private static void batches(Connection connection) throws SQLException {
    fresh(connection);
    try (PreparedStatement insert = connection.prepareStatement(
            "INSERT INTO things (name, n) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
      for (int i = 0; i < 50; i++) {
        insert.setString(1, "b" + i);
        insert.setInt(2, i);
        insert.addBatch();
      }
      same(50, insert.executeBatch().length);
      List<Long> keys = new ArrayList<>();
      try (ResultSet rows = insert.getGeneratedKeys()) {
        while (rows.next()) keys.add(rows.getLong("id"));
      }
      same(50, keys.size());
      same(50L, keys.get(49));
    }
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO things (name) VALUES (?)", new String[] {"id", "n"})) {
      insert.setString(1, "single");
      insert.executeUpdate();
      try (ResultSet rows = insert.getGeneratedKeys()) {
        rows.next();
        same(51L, rows.getLong(1));
        same(7, rows.getInt(2));
      }
    }
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO things (name, n) VALUES (?, ?)")) {
      for (int i = 0; i < 300; i++) {
        insert.setString(1, "c" + i);
        insert.setInt(2, i);
        insert.addBatch();
      }
      insert.executeBatch();
    }
    try (Statement statement = connection.createStatement()) {
      statement.addBatch("UPDATE things SET n = 0 WHERE name = 'b1'");
      statement.addBatch("DELETE FROM things WHERE name = 'b2'");
      same("[1, 1]", Arrays.toString(statement.executeBatch()));
    }
    same(350L, single(connection, "SELECT count(*) FROM things"));
  }

  private static void failingBatch(Connection connection) throws SQLException {
    fresh(connection);
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO things (name) VALUES (?)")) {
      for (String name : new String[] {"x", "y", "x", "z"}) {
        insert.setString(1, name);
        insert.addBatch();
      }
      try {
        insert.executeBatch();
        throw new AssertionError("no error");
      } catch (BatchUpdateException error) {
        same("23505", error.getSQLState());
      }
    }
    same(0L, single(connection, "SELECT count(*) FROM things"));
  }

  private static void transactions(Connection connection) throws SQLException {
    fresh(connection);
    connection.setAutoCommit(false);
    run(connection, "INSERT INTO things (name) VALUES ('one')");
    Savepoint savepoint = connection.setSavepoint("s1");
    run(connection, "INSERT INTO things (name) VALUES ('two')");
    try {
      run(connection, "INSERT INTO things (name) VALUES ('one')");
      throw new AssertionError("no error");
    } catch (SQLException error) {
      same("23505", error.getSQLState());
    }
    try {
      run(connection, "SELECT 1");
      throw new AssertionError("no error");
    } catch (SQLException error) {
      same("25P02", error.getSQLState());
    }
    connection.rollback(savepoint);
    connection.releaseSavepoint(savepoint);
    connection.commit();
    same(1L, single(connection, "SELECT count(*) FROM things"));
    run(connection, "DELETE FROM things");
    connection.rollback();
    same(1L, single(connection, "SELECT count(*) FROM things"));
    connection.commit();
    connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
    same(Connection.TRANSACTION_REPEATABLE_READ, connection.getTransactionIsolation());
    connection.setReadOnly(true);
    try {
      run(connection, "DELETE FROM things");
      throw new AssertionError("no error");
    } catch (SQLException error) {
      same("25006", error.getSQLState());
    }
    connection.rollback();
  }

  private static void autosave(Connection connection) throws SQLException {
    fresh(connection);
    connection.setAutoCommit(false);
    run(connection, "INSERT INTO things (name) VALUES ('a')");
    try {
      run(connection, "INSERT INTO things (name) VALUES ('a')");
      throw new AssertionError("no error");
    } catch (SQLException error) {
      same("23505", error.getSQLState());
    }
    run(connection, "INSERT INTO things (name) VALUES ('b')");
    connection.commit();
    same(2L, single(connection, "SELECT count(*) FROM things"));
    connection.commit();
  }

  private static void cursors(Connection connection) throws SQLException {
    fresh(connection);
    run(connection, "INSERT INTO things (name, n) SELECT 'k' || i, i FROM generate_series(1, 100) i");
    connection.setAutoCommit(false);
    try (PreparedStatement select = connection.prepareStatement("SELECT n FROM things WHERE n > ? ORDER BY n")) {
      for (int round = 0; round < 7; round++) {
        select.setFetchSize(9);
        select.setInt(1, 3);
        int expected = 4;
        try (ResultSet rows = select.executeQuery()) {
          while (rows.next()) same(expected++, rows.getInt(1));
        }
        same(101, expected);
      }
    }
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("SELECT * FROM things")) {
      rows.next();
    }
    connection.commit();
    try (Statement limited = connection.createStatement()) {
      limited.setMaxRows(5);
      int count = 0;
      try (ResultSet rows = limited.executeQuery("SELECT * FROM things")) {
        while (rows.next()) count++;
      }
      same(5, count);
    }
  }

  private static void copy(Connection connection) throws Exception {
    fresh(connection);
    CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
    same(2L, manager.copyIn("COPY things (name, n) FROM STDIN WITH (FORMAT csv)", new StringReader("a,1\n\"b,\"\"c\",2\n")));
    ByteArrayOutputStream csv = new ByteArrayOutputStream();
    same(2L, manager.copyOut("COPY (SELECT name, n FROM things ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)", csv));
    same("name,n\na,1\n\"b,\"\"c\",2\n", csv.toString(StandardCharsets.UTF_8));
    ByteArrayOutputStream binary = new ByteArrayOutputStream();
    manager.copyOut("COPY things TO STDOUT WITH (FORMAT binary)", binary);
    run(connection, "TRUNCATE things");
    same(2L, manager.copyIn("COPY things FROM STDIN WITH (FORMAT binary)", new ByteArrayInputStream(binary.toByteArray())));
    same(2L, single(connection, "SELECT count(*) FROM things"));
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    org.postgresql.copy.CopyOut out = manager.copyOut("COPY things (name, n) TO STDOUT");
    int messages = 0;
    for (byte[] row = out.readFromCopy(); row != null; row = out.readFromCopy()) {
      messages++;
      text.write(row);
    }
    same(2, messages);
    try {
      manager.copyIn("COPY things (name, n) FROM STDIN", new StringReader("x\ty\n"));
      throw new AssertionError("no error");
    } catch (SQLException error) {
      same("22P02", error.getSQLState());
    }
    same(2L, single(connection, "SELECT count(*) FROM things"));
  }

  private static List<String> list(ResultSet rows, String... columns) throws SQLException {
    List<String> found = new ArrayList<>();
    try (rows) {
      while (rows.next()) {
        StringBuilder line = new StringBuilder();
        for (String column : columns) line.append(line.length() == 0 ? "" : " ").append(rows.getString(column));
        found.add(line.toString());
      }
    }
    return found;
  }

  private static void withLines(Connection connection) throws SQLException {
    fresh(connection);
    run(connection, "CREATE TABLE lines (thing bigint NOT NULL REFERENCES things ON DELETE CASCADE, no int, note text DEFAULT 'x', PRIMARY KEY (thing, no))",
        "CREATE INDEX lines_note ON lines (note)", "COMMENT ON TABLE lines IS 'a comment'", "COMMENT ON COLUMN lines.note IS 'of a column'",
        "CREATE OR REPLACE VIEW seen AS SELECT name FROM things");
  }

  private static void tablesAndColumns(Connection connection) throws SQLException {
    withLines(connection);
    DatabaseMetaData meta = connection.getMetaData();
    same(List.of("public lines TABLE a comment", "public things TABLE null"),
        list(meta.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE", "REMARKS")
            .stream().filter(line -> line.contains("lines") || line.contains("things")).toList());
    same(List.of("seen VIEW"), list(meta.getTables(null, "public", "seen", null), "TABLE_NAME", "TABLE_TYPE"));
    same(List.of("id bigserial 19 0 NO YES", "name varchar 40 0 NO NO", "n int4 10 0 YES NO", "price numeric 10 2 YES NO"),
        list(meta.getColumns(null, "public", "things", null), "COLUMN_NAME", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "IS_NULLABLE", "IS_AUTOINCREMENT"));
    same(List.of("note 'x'::text of a column"),
        list(meta.getColumns(null, "public", "lines", "note"), "COLUMN_NAME", "COLUMN_DEF", "REMARKS"));
    same(true, list(meta.getTables(null, "pg_catalog", "pg_class", null), "TABLE_TYPE").contains("SYSTEM TABLE"));
    meta.getColumnPrivileges(null, "public", "things", "%").close();
    meta.getTablePrivileges(null, "public", "things").close();
    meta.getBestRowIdentifier(null, "public", "things", DatabaseMetaData.bestRowSession, true).close();
    meta.getVersionColumns(null, "public", "things").close();
  }

  private static void keysAndIndexes(Connection connection) throws SQLException {
    withLines(connection);
    DatabaseMetaData meta = connection.getMetaData();
    same(List.of("thing 1 lines_pkey", "no 2 lines_pkey"), list(meta.getPrimaryKeys(null, "public", "lines"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME"));
    same(List.of("things id lines thing 0 lines_thing_fkey"),
        list(meta.getImportedKeys(null, "public", "lines"), "PKTABLE_NAME", "PKCOLUMN_NAME", "FKTABLE_NAME", "FKCOLUMN_NAME", "DELETE_RULE", "FK_NAME"));
    same(1, list(meta.getExportedKeys(null, "public", "things"), "FK_NAME").size());
    same(1, list(meta.getCrossReference(null, "public", "things", null, "public", "lines"), "FK_NAME").size());
    same(List.of("lines_pkey f thing", "lines_pkey f no", "lines_note t note"),
        list(meta.getIndexInfo(null, "public", "lines", false, true), "INDEX_NAME", "NON_UNIQUE", "COLUMN_NAME"));
  }

  private static void otherMetadata(Connection connection) throws SQLException {
    DatabaseMetaData meta = connection.getMetaData();
    same(true, list(meta.getSchemas(), "TABLE_SCHEM").containsAll(List.of("public", "pg_catalog", "information_schema")));
    same(true, list(meta.getCatalogs(), "TABLE_CAT").contains("postgres"));
    same(true, list(meta.getTypeInfo(), "TYPE_NAME").containsAll(List.of("int8", "text", "vector")));
    same(true, list(meta.getTableTypes(), "TABLE_TYPE").contains("TABLE"));
    same(true, list(meta.getFunctions(null, "pg_catalog", "lower"), "FUNCTION_NAME").contains("lower"));
    meta.getFunctionColumns(null, "pg_catalog", "lower", null).close();
    meta.getProcedures(null, null, "%").close();
    meta.getProcedureColumns(null, null, "%", null).close();
    meta.getUDTs(null, null, "%", null).close();
    meta.getClientInfoProperties().close();
    same("PostgreSQL", meta.getDatabaseProductName());
    same(18, meta.getDatabaseMajorVersion());
    same(true, meta.getSQLKeywords().length() > 100);
    same(63, meta.getMaxTableNameLength());
  }

  private static void resultMetadata(Connection connection) throws SQLException {
    fresh(connection);
    try (PreparedStatement select = connection.prepareStatement("SELECT id, name AS shown, price, n + 1 FROM things WHERE id = ?")) {
      ResultSetMetaData meta = select.getMetaData();
      same("things", meta.getTableName(1));
      same("shown", meta.getColumnLabel(2));
      same(ResultSetMetaData.columnNoNulls, meta.isNullable(2));
      same(true, meta.isAutoIncrement(1));
      same(40, meta.getPrecision(2));
      same(2, meta.getScale(3));
      same("", meta.getTableName(4));
      same(Types.BIGINT, select.getParameterMetaData().getParameterType(1));
    }
  }

  private static void updatable(Connection connection) throws SQLException {
    fresh(connection);
    run(connection, "INSERT INTO things (name) VALUES ('before')");
    try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
        ResultSet rows = statement.executeQuery("SELECT id, name FROM things")) {
      rows.next();
      rows.updateString("name", "after");
      rows.updateRow();
      rows.moveToInsertRow();
      rows.updateString("name", "new");
      rows.insertRow();
    }
    same("after,new", single(connection, "SELECT string_agg(name, ',' ORDER BY id) FROM things"));
  }

  private static void cancel(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      statement.execute("SELECT pg_sleep(20)");
      throw new AssertionError("no error");
    } catch (SQLException error) {
      same("57014", error.getSQLState());
    }
    try (Statement statement = connection.createStatement()) {
      Thread thread = new Thread(() -> {
        try {
          Thread.sleep(300);
          statement.cancel();
        } catch (Exception ignored) {
        }
      });
      thread.start();
      statement.execute("SELECT pg_sleep(20)");
      throw new AssertionError("no error");
    } catch (SQLException error) {
      same("57014", error.getSQLState());
    }
    same(1, single(connection, "SELECT 1"));
  }

  private static void errors(Connection connection) throws SQLException {
    fresh(connection);
    run(connection, "CREATE EXTENSION IF NOT EXISTS vector", "DROP TABLE IF EXISTS v", "CREATE TABLE v (id int CHECK (id > 0), e vector(3))");
    String[][] cases = {
      {"SELECT * FROM nowhere", "42P01"}, {"SELECT nope FROM things", "42703"}, {"SELEC 1", "42601"}, {"SELECT 1 / 0", "22012"},
      {"SELECT nofunc(1)", "42883"}, {"INSERT INTO things (name) VALUES (NULL)", "23502"}, {"INSERT INTO v VALUES (-1)", "23514"},
      {"INSERT INTO v VALUES (1, '[1,2]')", "22000"}, {"INSERT INTO v VALUES (1, '[a]')", "22P02"}, {"SELECT 'x'::int", "22P02"},
      {"INSERT INTO things (name) VALUES (repeat('x', 41))", "22001"}, {"SELECT 3000000000::int", "22003"},
      {"CREATE TABLE things (id int)", "42P07"}, {"DROP TABLE nowhere", "42P01"}, {"CREATE EXTENSION nowhere", "0A000"},
      {"SELECT * FROM nowhere.t", "42P01"}, {"SELECT 1::nowhere", "42704"}, {"CREATE SCHEMA public", "42P06"},
    };
    for (String[] one : cases) {
      try {
        run(connection, one[0]);
        throw new AssertionError("no error: " + one[0]);
      } catch (SQLException error) {
        if (!one[1].equals(error.getSQLState())) throw new AssertionError(one[0] + ": " + error.getSQLState() + " " + error.getMessage());
      }
    }
    run(connection, "INSERT INTO things (name) VALUES ('dup')");
    try {
      run(connection, "INSERT INTO things (name) VALUES ('dup')");
      throw new AssertionError("no error");
    } catch (PSQLException error) {
      same("things_name_key", error.getServerErrorMessage().getConstraint());
      same("Key (name)=(dup) already exists.", error.getServerErrorMessage().getDetail());
    }
  }

  private static void arrays(Connection connection) throws SQLException {
    fresh(connection);
    run(connection, "INSERT INTO things (name) VALUES ('p'), ('q'), ('r')");
    try (PreparedStatement select = connection.prepareStatement("SELECT name, ARRAY[n, n + 1] FROM things WHERE id = ANY(?) ORDER BY id")) {
      for (int round = 0; round < 7; round++) {
        select.setArray(1, connection.createArrayOf("bigint", new Long[] {1L, 3L}));
        try (ResultSet rows = select.executeQuery()) {
          rows.next();
          same("p", rows.getString(1));
          same("[7, 8]", Arrays.toString((Object[]) rows.getArray(2).getArray()));
          rows.next();
          same("r", rows.getString(1));
          same(false, rows.next());
        }
      }
    }
  }

  private static void connectionChecks(Connection connection) throws SQLException {
    same(true, connection.isValid(5));
    same("public", connection.getSchema());
    same("postgres", connection.getCatalog());
    connection.setSchema("pg_catalog");
    same("pg_catalog", connection.getSchema());
    connection.setClientInfo("ApplicationName", "walk");
    same("walk", single(connection, "SHOW application_name"));
    same(connection.unwrap(PGConnection.class).getBackendPID(), single(connection, "SELECT pg_backend_pid()"));
  }
}
