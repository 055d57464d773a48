-- The database's accounts, their permissions, and the marker of a complete initialisation; the application's tables are
-- created by its migrations. Runs at the first start on an empty volume, and again in
-- scripts/container/postgres-accounts.sh: creates what is missing, and sets the passwords of the users in use.
\set ON_ERROR_STOP on
-- At the first start $POSTGRES_PASSWORD is not the real one (scripts/container/postgres-entrypoint.sh).
\set admin_password `. /opt/netmon/credential.sh; credential "${SUPERUSER_CREDENTIAL:-POSTGRES_PASSWORD}"`
\set app_user `. /opt/netmon/credential.sh; credential POSTGRES_APP_USER`
\set app_password `. /opt/netmon/credential.sh; credential POSTGRES_APP_PASSWORD`
\set monitoring_user `. /opt/netmon/credential.sh; credential POSTGRES_MONITORING_USER`
\set backup_password `. /opt/netmon/credential.sh; credential POSTGRES_BACKUP_PASSWORD`
\set monitoring_password `. /opt/netmon/credential.sh; credential POSTGRES_MONITORING_PASSWORD`

BEGIN;
-- The statements contain passwords: no statement is logged, not even a failing one.
SET LOCAL log_statement = 'none';
SET LOCAL log_min_duration_statement = -1;
SET LOCAL log_min_error_statement = 'panic';
-- No notices about existing objects.
SET LOCAL client_min_messages = 'warning';

-- PostgreSQL would treat an empty password as no password.
SELECT '' IN (:'admin_password', :'app_password', :'monitoring_password', :'backup_password') AS incomplete \gset
\if :incomplete
  DO $$ BEGIN RAISE EXCEPTION 'a password of the database is empty'; END $$;
\endif

SELECT format('CREATE ROLE %I NOLOGIN', name)
FROM unnest(ARRAY['netmon', 'netmon_a', 'netmon_b', 'monitoring', 'monitoring_a', 'monitoring_b',
  'backup']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
GRANT netmon TO netmon_a, netmon_b;
GRANT monitoring TO monitoring_a, monitoring_b;
GRANT pg_monitor, pg_use_reserved_connections TO monitoring;
-- A copy of the files contains everything, so reading everything adds no right. Restores are verified at a restore point,
-- which is written while the tables are locked for writing.
ALTER ROLE backup REPLICATION;
GRANT pg_read_all_data, pg_maintain, pg_monitor TO backup;
GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO backup;
-- Objects created by either of the two belong to both.
ALTER ROLE netmon_a SET role = 'netmon';
ALTER ROLE netmon_b SET role = 'netmon';

-- The user in use of each pair; the other one is unchanged: at first it has no password and cannot log in.
ALTER ROLE CURRENT_USER PASSWORD :'admin_password';
ALTER ROLE :"app_user" LOGIN PASSWORD :'app_password';
ALTER ROLE :"monitoring_user" LOGIN PASSWORD :'monitoring_password';
ALTER ROLE backup LOGIN PASSWORD :'backup_password';

-- No default permissions; only those that are used.
REVOKE ALL ON DATABASE :"DBNAME", postgres, template1 FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO netmon;
GRANT CONNECT ON DATABASE :"DBNAME" TO monitoring, backup;
GRANT USAGE, CREATE ON SCHEMA public TO netmon;

-- Objects on older volumes, which the application created with the superuser's account.
SELECT format('ALTER TABLE %s OWNER TO netmon', oid::regclass)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND relowner = CURRENT_USER::regrole \gexec
SELECT format('ALTER FUNCTION %s OWNER TO netmon', oid::regprocedure)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner = CURRENT_USER::regrole \gexec

-- An interrupted first start leaves a volume without the marker, and the health check fails.
CREATE SCHEMA IF NOT EXISTS platform;
CREATE TABLE IF NOT EXISTS platform.initialisation (completed_at timestamptz NOT NULL);
GRANT USAGE ON SCHEMA platform TO monitoring;
GRANT SELECT ON platform.initialisation TO monitoring;
INSERT INTO platform.initialisation SELECT now() WHERE NOT EXISTS (SELECT FROM platform.initialisation);
COMMIT;
