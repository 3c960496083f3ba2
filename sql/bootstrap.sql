-- Run once into the snapshot that every embedded instance starts from (src/postgres/make-snapshot.ts).
-- Objects made here get the same OIDs everywhere, below those of user objects (16384 …).

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
