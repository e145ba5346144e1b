-- Roles and database, once per cluster and safe to repeat: `psql -X -v ON_ERROR_STOP=1 -f roles.sql postgres`, as a superuser,
-- with the passwords in the environment. psql 14 or newer (\getenv).
--
--   headrace_migrator     owns the schema; only `headrace db upgrade` uses it
--   headrace_app          ingress, workers, command line: reads and writes rows, changes no table
--   headrace_reader       exporter, replicas' readers, people: reads, and sees the server's statistics
--   headrace_replication  standbys and base backups
--   headrace_pgbouncer    looks up who may log in through PgBouncer

\set ON_ERROR_STOP on
\getenv migrator_password HEADRACE_MIGRATOR_PASSWORD
\getenv app_password HEADRACE_APP_PASSWORD
\getenv reader_password HEADRACE_READER_PASSWORD
\getenv replication_password HEADRACE_REPLICATION_PASSWORD
\getenv pgbouncer_password HEADRACE_PGBOUNCER_PASSWORD

SET password_encryption = 'scram-sha-256';

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['headrace_migrator', 'headrace_app', 'headrace_reader', 'headrace_replication', 'headrace_pgbouncer']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

ALTER ROLE headrace_migrator PASSWORD :'migrator_password';
ALTER ROLE headrace_app PASSWORD :'app_password';
ALTER ROLE headrace_reader PASSWORD :'reader_password';
ALTER ROLE headrace_replication REPLICATION PASSWORD :'replication_password';
ALTER ROLE headrace_pgbouncer PASSWORD :'pgbouncer_password' CONNECTION LIMIT 10;
GRANT pg_monitor TO headrace_reader;

-- What a process asks for when it connects (shared/db/engine.py), for those that come through PgBouncer, which drops it.
ALTER ROLE headrace_app SET statement_timeout = '10s';
ALTER ROLE headrace_app SET lock_timeout = '5s';
ALTER ROLE headrace_app SET idle_in_transaction_session_timeout = '15s';
ALTER ROLE headrace_app SET timezone = 'UTC';
ALTER ROLE headrace_reader SET statement_timeout = '10s';
ALTER ROLE headrace_reader SET default_transaction_read_only = on;

SELECT 'CREATE DATABASE headrace OWNER headrace_migrator TEMPLATE template0 ENCODING ''UTF8'' LC_COLLATE ''C'' LC_CTYPE ''C'''
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'headrace') \gexec

REVOKE ALL ON DATABASE headrace FROM PUBLIC;
GRANT CONNECT ON DATABASE headrace TO headrace_app, headrace_reader, headrace_pgbouncer;

\connect headrace

ALTER SCHEMA public OWNER TO headrace_migrator;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO headrace_app, headrace_reader;

-- What migrations will make, and what they have made already.
ALTER DEFAULT PRIVILEGES FOR ROLE headrace_migrator IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO headrace_app;
ALTER DEFAULT PRIVILEGES FOR ROLE headrace_migrator IN SCHEMA public GRANT USAGE ON SEQUENCES TO headrace_app;
ALTER DEFAULT PRIVILEGES FOR ROLE headrace_migrator IN SCHEMA public GRANT SELECT ON TABLES TO headrace_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO headrace_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO headrace_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO headrace_reader;

-- PgBouncer asks for a password's verifier here (auth_query) and may see nothing else.
CREATE SCHEMA IF NOT EXISTS pgbouncer;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO headrace_pgbouncer;
CREATE OR REPLACE FUNCTION pgbouncer.lookup(name text, OUT usename text, OUT passwd text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT rolname, rolpassword FROM pg_authid WHERE rolname = name AND rolname IN ('headrace_app', 'headrace_reader')
$$;
REVOKE ALL ON FUNCTION pgbouncer.lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.lookup(text) TO headrace_pgbouncer;
