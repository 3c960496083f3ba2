-- What only the running server knows. Tables elanus.live_* never hold rows between statements: the proxy loads them
-- when a statement reads them (src/nodes/proxy/live/). PostgreSQL's own views and functions over such facts are put on top.

CREATE TABLE elanus.live_activity (
  pid int, usename name, application_name text, client_addr inet, client_port int, backend_start timestamptz,
  xact_start timestamptz, query_start timestamptz, state text, query text, datname name);
CREATE TABLE elanus.live_create_index (
  pid int, relid oid, index_relid oid, command text, phase text, tuples_total int8, tuples_done int8);
CREATE TABLE elanus.live_copy (
  pid int, relid oid, command text, type text, bytes_processed int8, bytes_total int8, tuples_processed int8);
CREATE TABLE elanus.live_locks (
  pid int, locktype text, relation oid, classid oid, objid oid, objsubid int2, mode text, granted bool);
CREATE TABLE elanus.live_segments (
  relid oid, shard int, log_channel text, segment_id int8, stage text, row_count int8, deleted_count int8, bytes int8,
  index_bytes int8, garbage_bytes int8, wanted_replicas int, replicas int, ready_nodes text, loading_nodes text,
  leaving_nodes text, owner text);
-- A row for each table and each index. last_*: NULL for never.
CREATE TABLE elanus.live_relations (
  relid oid, row_count int8, dead_count int8, bytes int8, index_bytes int8, garbage_bytes int8, shard_count int, replicas int,
  seq_scan int8, last_seq_scan timestamptz, idx_scan int8, last_idx_scan timestamptz,
  inserted int8, updated int8, deleted int8,
  last_vacuum timestamptz, vacuum_count int8, last_analyze timestamptz, analyze_count int8);
CREATE TABLE elanus.live_channels (
  log_channel text, term int8, service_time timestamptz, log_start int8, log_end int8, log_bytes int8, shard_count int,
  node text);
CREATE TABLE elanus.live_jobs (
  kind text, state text, relid oid, segment_id int8, index_relid oid, log_channel text, started_at timestamptz,
  rows_done int8, rows_total int8, node text);
CREATE TABLE elanus.live_nodes (
  name text, kind text, state text, address text, started_at timestamptz, version text);
CREATE TABLE elanus.live_memory (part text, used_bytes int8, budget_bytes int8, events text);
GRANT SELECT ON ALL TABLES IN SCHEMA elanus TO PUBLIC;

CREATE VIEW elanus.segments AS
  SELECT relid::regclass AS "table", shard, segment_id, stage, row_count, deleted_count, bytes, index_bytes,
    garbage_bytes, log_channel, wanted_replicas, replicas,
    -- Query nodes: which answer, which shall, which are letting go of it. '{}': it grows, or everything is in one process.
    string_to_array(ready_nodes, ',') AS nodes, string_to_array(loading_nodes, ',') AS loading_nodes,
    string_to_array(leaving_nodes, ',') AS leaving_nodes, nullif(owner, '') AS owner
  FROM elanus.live_segments;
CREATE VIEW elanus.tables AS
  SELECT l.relid::regclass AS "table", l.row_count, l.dead_count, l.bytes, l.index_bytes, l.garbage_bytes, l.shard_count,
    l.replicas
  FROM elanus.live_relations l JOIN pg_catalog.pg_class c ON c.oid = l.relid AND c.relkind IN ('r', 'p', 'm');
CREATE VIEW elanus.shards AS
  SELECT relid::regclass AS "table", shard, log_channel, count(segment_id) AS segment_count,
    count(*) FILTER (WHERE stage IN ('growing', 'sealed')) AS growing_count,
    coalesce(sum(row_count), 0)::int8 AS row_count, coalesce(sum(deleted_count), 0)::int8 AS deleted_count,
    coalesce(sum(bytes), 0)::int8 AS bytes, coalesce(sum(index_bytes), 0)::int8 AS index_bytes,
    nullif(owner, '') AS node, min(replicas) FILTER (WHERE stage NOT IN ('growing', 'sealed')) AS replicas,
    count(*) FILTER (WHERE loading_nodes <> '') AS loading_count
  FROM elanus.live_segments GROUP BY relid, shard, log_channel, owner;
CREATE VIEW elanus.channels AS
  SELECT log_channel, term, service_time, log_start, log_end, log_bytes, shard_count, nullif(node, '') AS node
  FROM elanus.live_channels;
CREATE VIEW elanus.jobs AS
  SELECT kind, state, relid::regclass AS "table", segment_id, nullif(index_relid, 0)::regclass AS "index", log_channel,
    started_at, rows_done, rows_total, nullif(node, '') AS node
  FROM elanus.live_jobs;
CREATE VIEW elanus.nodes AS SELECT name, kind, state, address, started_at, version FROM elanus.live_nodes;
CREATE VIEW elanus.memory AS
  SELECT part, used_bytes, nullif(budget_bytes, 0) AS budget_bytes, events::jsonb AS events FROM elanus.live_memory;
GRANT SELECT ON elanus.segments, elanus.tables, elanus.shards, elanus.channels, elanus.jobs, elanus.nodes, elanus.memory
  TO PUBLIC;

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

-- Rows and keys are 'tuple', without page and place: rows have neither here.
CREATE OR REPLACE VIEW pg_catalog.pg_locks AS
  SELECT l.locktype, d.oid AS database, l.relation, NULL::int AS page, NULL::int2 AS tuple, NULL::text AS virtualxid,
    NULL::xid AS transactionid, l.classid, l.objid, l.objsubid, l.pid || '/0' AS virtualtransaction, l.pid, l.mode,
    l.granted, false AS fastpath, NULL::timestamptz AS waitstart
  FROM elanus.live_locks l CROSS JOIN pg_database d WHERE d.datname = current_database();

-- What is not counted is NULL, what never happens here is 0.
CREATE OR REPLACE VIEW pg_catalog.pg_stat_all_tables AS
  SELECT c.oid AS relid, n.nspname AS schemaname, c.relname,
    coalesce(l.seq_scan, 0) AS seq_scan, l.last_seq_scan, NULL::int8 AS seq_tup_read,
    CASE WHEN c.relhasindex THEN coalesce(l.idx_scan, 0) END AS idx_scan, l.last_idx_scan, NULL::int8 AS idx_tup_fetch,
    coalesce(l.inserted, 0) AS n_tup_ins, coalesce(l.updated, 0) AS n_tup_upd, coalesce(l.deleted, 0) AS n_tup_del,
    0::int8 AS n_tup_hot_upd, 0::int8 AS n_tup_newpage_upd,
    coalesce(l.row_count, 0) AS n_live_tup, coalesce(l.dead_count, 0) AS n_dead_tup,
    0::int8 AS n_mod_since_analyze, 0::int8 AS n_ins_since_vacuum,
    l.last_vacuum, NULL::timestamptz AS last_autovacuum, l.last_analyze, NULL::timestamptz AS last_autoanalyze,
    coalesce(l.vacuum_count, 0) AS vacuum_count, 0::int8 AS autovacuum_count,
    coalesce(l.analyze_count, 0) AS analyze_count, 0::int8 AS autoanalyze_count,
    NULL::float8 AS total_vacuum_time, NULL::float8 AS total_autovacuum_time, NULL::float8 AS total_analyze_time,
    NULL::float8 AS total_autoanalyze_time
  FROM pg_class c
    LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN elanus.live_relations l ON l.relid = c.oid
  WHERE c.relkind IN ('r', 't', 'm', 'p');

CREATE OR REPLACE VIEW pg_catalog.pg_stat_all_indexes AS
  SELECT c.oid AS relid, i.oid AS indexrelid, n.nspname AS schemaname, c.relname, i.relname AS indexrelname,
    coalesce(l.idx_scan, 0) AS idx_scan, l.last_idx_scan, NULL::int8 AS idx_tup_read, NULL::int8 AS idx_tup_fetch
  FROM pg_class c
    JOIN pg_index x ON c.oid = x.indrelid
    JOIN pg_class i ON i.oid = x.indexrelid
    LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN elanus.live_relations l ON l.relid = i.oid
  WHERE c.relkind IN ('r', 't', 'm');

-- Tables of schema elanus are not the user's.
DO $$
  DECLARE v text;
  BEGIN
    FOREACH v IN ARRAY ARRAY['pg_stat_user_tables', 'pg_stat_user_indexes', 'pg_statio_user_tables', 'pg_statio_user_indexes'] LOOP
      EXECUTE format('CREATE OR REPLACE VIEW pg_catalog.%I AS %s AND schemaname <> ''elanus''', v,
        rtrim(pg_get_viewdef(('pg_catalog.' || v)::regclass), ';'));
    END LOOP;
  END $$;

-- Before a statement that reads reltuples or relpages (src/nodes/proxy/live/live-tables.ts); rolled back after it.
CREATE PROCEDURE elanus.set_relation_statistics() LANGUAGE sql AS $$
  UPDATE pg_catalog.pg_class c SET reltuples = f.row_count, relpages = f.pages
  FROM (
    SELECT relid, row_count, ((bytes + 8191) / 8192)::int AS pages FROM elanus.live_relations
    UNION ALL
    SELECT i.indexrelid, t.row_count, 0 FROM elanus.live_relations t JOIN pg_catalog.pg_index i ON i.indrelid = t.relid
    WHERE NOT EXISTS (SELECT FROM elanus.live_relations x WHERE x.relid = i.indexrelid)
  ) f
  WHERE f.relid = c.oid $$;

-- A built-in function is called by its OID: ours take over the names (see bootstrap.sql).
UPDATE pg_catalog.pg_proc SET proname = 'pglite_' || proname
  WHERE pronamespace = 'pg_catalog'::regnamespace
    AND proname IN ('pg_relation_size', 'pg_table_size', 'pg_total_relation_size', 'pg_indexes_size', 'pg_backend_pid',
      'pg_database_size', 'pg_stat_get_live_tuples', 'pg_stat_get_dead_tuples', 'pg_stat_get_numscans',
      'pg_stat_get_tuples_inserted', 'pg_stat_get_tuples_updated', 'pg_stat_get_tuples_deleted');

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
CREATE FUNCTION pg_catalog.pg_stat_get_live_tuples(oid) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT row_count FROM elanus.live_relations WHERE relid = $1), 0) $$;
CREATE FUNCTION pg_catalog.pg_stat_get_dead_tuples(oid) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT dead_count FROM elanus.live_relations WHERE relid = $1), 0) $$;
CREATE FUNCTION pg_catalog.pg_stat_get_numscans(oid) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT seq_scan + idx_scan FROM elanus.live_relations WHERE relid = $1), 0) $$;
CREATE FUNCTION pg_catalog.pg_stat_get_tuples_inserted(oid) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT inserted FROM elanus.live_relations WHERE relid = $1), 0) $$;
CREATE FUNCTION pg_catalog.pg_stat_get_tuples_updated(oid) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT updated FROM elanus.live_relations WHERE relid = $1), 0) $$;
CREATE FUNCTION pg_catalog.pg_stat_get_tuples_deleted(oid) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT coalesce((SELECT deleted FROM elanus.live_relations WHERE relid = $1), 0) $$;
-- Rows and indexes of all tables; there is one database.
CREATE FUNCTION pg_catalog.pg_database_size(oid) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT CASE WHEN d.datname = current_database() THEN
      (SELECT coalesce(sum(l.bytes), 0)::int8 FROM elanus.live_relations l) ELSE 0 END
    FROM pg_catalog.pg_database d WHERE d.oid = $1 $$;
CREATE FUNCTION pg_catalog.pg_database_size(name) RETURNS int8 LANGUAGE sql STABLE STRICT
  AS $$ SELECT CASE WHEN d.datname = current_database() THEN
      (SELECT coalesce(sum(l.bytes), 0)::int8 FROM elanus.live_relations l) ELSE 0 END
    FROM pg_catalog.pg_database d WHERE d.datname = $1 $$;
