-- What only the running server knows. Tables elanus.live_* never hold rows between statements: the proxy loads them
-- when a statement reads them (src/nodes/proxy/live/). PostgreSQL's own views and functions over such facts are put on top.

CREATE TABLE elanus.live_activity (
  pid int, usename name, application_name text, client_addr inet, client_port int, backend_start timestamptz,
  xact_start timestamptz, query_start timestamptz, state text, query text, datname name);
CREATE TABLE elanus.live_create_index (
  pid int, relid oid, index_relid oid, command text, phase text, tuples_total int8, tuples_done int8);
CREATE TABLE elanus.live_copy (
  pid int, relid oid, command text, type text, bytes_processed int8, bytes_total int8, tuples_processed int8);
CREATE TABLE elanus.live_segments (
  relid oid, shard int, segment_id int8, stage text, row_count int8, deleted_count int8, bytes int8, index_bytes int8);
CREATE TABLE elanus.live_relations (relid oid, row_count int8, dead_count int8, bytes int8, index_bytes int8);
GRANT SELECT ON ALL TABLES IN SCHEMA elanus TO PUBLIC;

CREATE VIEW elanus.segments AS
  SELECT relid::regclass AS "table", shard, segment_id, stage, row_count, deleted_count, bytes, index_bytes
  FROM elanus.live_segments;
CREATE VIEW elanus.tables AS
  SELECT relid::regclass AS "table", row_count, dead_count, bytes, index_bytes FROM elanus.live_relations;
GRANT SELECT ON elanus.segments, elanus.tables TO PUBLIC;

CREATE OR REPLACE VIEW pg_catalog.pg_stat_progress_create_index AS
  SELECT l.pid, d.oid AS datid, d.datname, l.relid, l.index_relid, l.command, l.phase,
    0::int8 AS lockers_total, 0::int8 AS lockers_done, 0::int8 AS current_locker_pid,
    0::int8 AS blocks_total, 0::int8 AS blocks_done, l.tuples_total, l.tuples_done,
    0::int8 AS partitions_total, 0::int8 AS partitions_done
  FROM elanus.live_create_index l CROSS JOIN pg_database d WHERE d.datname = current_database();

CREATE OR REPLACE VIEW pg_catalog.pg_stat_progress_copy AS
  SELECT l.pid, d.oid AS datid, d.datname, l.relid, l.command, l.type, l.bytes_processed, l.bytes_total,
    l.tuples_processed, 0::int8 AS tuples_excluded, 0::int8 AS tuples_skipped
  FROM elanus.live_copy l CROSS JOIN pg_database d WHERE d.datname = current_database();

CREATE OR REPLACE VIEW pg_catalog.pg_stat_activity AS
  SELECT d.oid AS datid, l.datname, l.pid, NULL::int AS leader_pid, r.oid AS usesysid, l.usename, l.application_name,
    l.client_addr, NULL::text AS client_hostname, l.client_port, l.backend_start, l.xact_start, l.query_start,
    l.query_start AS state_change, NULL::text AS wait_event_type, NULL::text AS wait_event, l.state,
    NULL::xid AS backend_xid, NULL::xid AS backend_xmin, NULL::int8 AS query_id, l.query,
    'client backend'::text AS backend_type
  FROM elanus.live_activity l CROSS JOIN pg_database d LEFT JOIN pg_roles r ON r.rolname = l.usename
  WHERE d.datname = current_database();

-- A built-in function is called by its OID: ours take over the names (see bootstrap.sql).
UPDATE pg_catalog.pg_proc SET proname = 'pglite_' || proname
  WHERE pronamespace = 'pg_catalog'::regnamespace
    AND proname IN ('pg_relation_size', 'pg_table_size', 'pg_total_relation_size', 'pg_indexes_size', 'pg_backend_pid');

CREATE FUNCTION pg_catalog.pg_backend_pid() RETURNS int LANGUAGE sql STABLE PARALLEL SAFE
  AS $$ SELECT nullif(current_setting('elanus.backend_pid', true), '')::int $$;
CREATE FUNCTION pg_catalog.pg_relation_size(regclass) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT bytes FROM elanus.live_relations WHERE relid = $1), 0) $$;
CREATE FUNCTION pg_catalog.pg_relation_size(regclass, text) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT CASE WHEN $2 = 'main' THEN coalesce((SELECT bytes FROM elanus.live_relations WHERE relid = $1), 0) ELSE 0 END $$;
CREATE FUNCTION pg_catalog.pg_table_size(regclass) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT bytes FROM elanus.live_relations WHERE relid = $1), 0) $$;
CREATE FUNCTION pg_catalog.pg_indexes_size(regclass) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT index_bytes FROM elanus.live_relations WHERE relid = $1), 0) $$;
CREATE FUNCTION pg_catalog.pg_total_relation_size(regclass) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT bytes + index_bytes FROM elanus.live_relations WHERE relid = $1), 0) $$;
