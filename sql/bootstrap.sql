-- Run once into the snapshot that every embedded instance starts from (src/postgres/make-snapshot.ts).
-- Objects made here get the same OIDs everywhere: 16384 and up, below those of users' objects (src/postgres/catalog.ts).

CREATE SCHEMA elanus;
COMMENT ON SCHEMA elanus IS 'Elanus: system views, functions and procedures';
GRANT USAGE ON SCHEMA elanus TO PUBLIC;

-- Clients read the server's version from here (SQLAlchemy, pgAdmin). A built-in function is called by its OID,
-- whatever its body in pg_proc says: ours takes over the name, under an OID of its own.
UPDATE pg_catalog.pg_proc SET proname = 'pglite_version' WHERE oid = 89;
CREATE FUNCTION pg_catalog.version() RETURNS text
  LANGUAGE sql STABLE PARALLEL SAFE STRICT COST 1
  AS $$ SELECT 'PostgreSQL 18.6 (Elanus 0.1) on x86_64-pc-linux-gnu, compiled by clang, 64-bit'::text $$;
COMMENT ON FUNCTION pg_catalog.version() IS 'PostgreSQL version string';

-- What only the proxy can do, it does when it meets a notice of class EL, which no client ever sees
-- (src/nodes/proxy/statements/side-effects.ts).
UPDATE pg_catalog.pg_proc SET proname = 'pglite_' || proname
  WHERE pronamespace = 'pg_catalog'::regnamespace
    AND proname IN ('pg_notify', 'pg_cancel_backend', 'pg_terminate_backend');

CREATE FUNCTION pg_catalog.pg_notify(text, text) RETURNS void
  LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED
  SET client_min_messages = notice
  AS $$
  BEGIN
    IF coalesce($1, '') = '' THEN
      RAISE EXCEPTION 'channel name cannot be empty' USING ERRCODE = '22023';
    ELSIF octet_length($1) >= 64 THEN
      RAISE EXCEPTION 'channel name too long' USING ERRCODE = '22023';
    ELSIF octet_length($2) >= 8000 THEN
      RAISE EXCEPTION 'payload string too long' USING ERRCODE = '22023';
    END IF;
    RAISE NOTICE USING ERRCODE = 'EL001', MESSAGE = 'notify', DETAIL = $1, HINT = coalesce($2, '');
  END $$;
COMMENT ON FUNCTION pg_catalog.pg_notify(text, text) IS 'send a notification event';

-- The proxy lists its processes in elanus.processes for statements that name the two functions below.
CREATE FUNCTION elanus.signal_session(integer, text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE STRICT PARALLEL RESTRICTED
  SET client_min_messages = notice
  AS $$
  BEGIN
    IF NOT $1::text = ANY (string_to_array(current_setting('elanus.processes', true), ',')) THEN
      RAISE WARNING 'PID % is not a PostgreSQL backend process', $1 USING ERRCODE = '01000';
      RETURN false;
    END IF;
    RAISE NOTICE USING ERRCODE = $2, MESSAGE = 'signal', DETAIL = $1::text;
    RETURN true;
  END $$;
CREATE FUNCTION pg_catalog.pg_cancel_backend(integer) RETURNS boolean
  LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED AS $$ SELECT elanus.signal_session($1, 'EL002') $$;
COMMENT ON FUNCTION pg_catalog.pg_cancel_backend(integer) IS 'cancel a server process'' current query';
CREATE FUNCTION pg_catalog.pg_terminate_backend(pid integer, timeout bigint DEFAULT 0) RETURNS boolean
  LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED AS $$ SELECT elanus.signal_session($1, 'EL003') $$;
COMMENT ON FUNCTION pg_catalog.pg_terminate_backend(integer, bigint) IS 'terminate a server process';
