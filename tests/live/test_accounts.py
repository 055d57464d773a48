"""Least privilege of database and cache accounts: permitted operations succeed, all others are denied."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.live.stack import Stack

DENIED = "permission denied"


def secret(stack: Stack, name: str) -> str:
    """The content of a file in secrets/."""
    return (stack.root / "secrets" / f"{name}.txt").read_text()


def run_with_input(stack: Stack, service: str, *command: str, text: str) -> str:
    """The output of a command in a service's container with ``text`` as standard input, with its errors."""
    return stack.exec(service, "sh", "-c", 'exec "$@" 2>&1', "sh", *command, text=text, check=False)


def sql(stack: Stack, account: str, statement: str) -> str:
    """PostgreSQL's response to a statement of an account, over the network."""
    user, password = secret(stack, f"postgres_{account}_user"), secret(stack, f"postgres_{account}_password")
    login = f'\\connect "host=db user={user} password={password} dbname=network_monitor"\n'
    psql = ("psql", "--username=postgres", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align")
    return run_with_input(stack, "db", *psql, text=f"{login}{statement};\n").strip()


def redis(stack: Stack, account: str, *commands: str) -> list[str]:
    """Redis' replies to an account, a line for each command."""
    user, name = {"app": ("netmon", "redis_app_password"), "monitoring": ("monitoring", "redis_monitoring_password")}[
        account
    ]
    login = f"AUTH {user} {secret(stack, name)}\n"
    return run_with_input(stack, "redis", "redis-cli", text=login + "\n".join(commands) + "\n").splitlines()[1:]


def test_the_application_logs_in_as_an_unprivileged_user(stack: Stack) -> None:
    attributes = "SELECT session_user, current_user, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    found = sql(stack, "app", f"{attributes} FROM pg_roles WHERE rolname = session_user")
    assert found == "netmon_a|netmon|f|f|f|f|f"
    users = "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name LIKE 'netmon-%'"
    assert sql(stack, "monitoring", users) == "netmon_a", "app and worker log in as another user"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM pg_authid",
        "SELECT * FROM platform.initialisation",
        "CREATE ROLE another",
        "ALTER ROLE netmon_a SUPERUSER",
        "ALTER ROLE monitoring_a PASSWORD 'another-password-0'",
        "SET SESSION AUTHORIZATION postgres",
        "SET ROLE monitoring",
        "CREATE DATABASE another",
        "CREATE SCHEMA another",
        "CREATE EXTENSION file_fdw",
        "COPY probes TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "ALTER SYSTEM SET log_statement = 'all'",
        "\\connect postgres",
    ],
)
def test_the_application_is_denied_privileged_statements(stack: Stack, statement: str) -> None:
    answer = sql(stack, "app", statement)
    assert DENIED in answer or "must be" in answer, answer


def test_the_application_owns_its_tables_and_functions(stack: Stack) -> None:
    owners = """
        SELECT tableowner FROM pg_tables WHERE schemaname = 'public'
        UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"""
    assert sql(stack, "app", owners) == "netmon"
    made = "CREATE TABLE made_by_test (id int); DROP TABLE made_by_test; CREATE TEMPORARY TABLE own (id int)"
    assert sql(stack, "app", made) == ""


def test_monitoring_sees_activity_and_no_data(stack: Stack) -> None:
    assert sql(stack, "monitoring", "SELECT count(*) > 0 FROM pg_stat_activity WHERE query <> ''") == "t"
    reserved = "SELECT pg_has_role('pg_use_reserved_connections', 'MEMBER')"
    assert sql(stack, "monitoring", reserved) == "t", "monitoring has no reserved connection"
    assert sql(stack, "monitoring", "SELECT completed_at IS NOT NULL FROM platform.initialisation") == "t"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM public.probes",
        "SELECT * FROM public.alerts",
        "DELETE FROM public.probes",
        "DELETE FROM platform.initialisation",
        "SELECT * FROM pg_authid",
        "SET ROLE netmon",
        "CREATE TABLE public.another (id int)",
        "CREATE TEMPORARY TABLE another (id int)",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'netmon_a'",
    ],
)
def test_monitoring_is_denied_data_and_changes(stack: Stack, statement: str) -> None:
    assert DENIED in sql(stack, "monitoring", statement)


@pytest.mark.parametrize("user", ["netmon_b", "monitoring_b"])
def test_the_unused_user_cannot_log_in(stack: Stack, user: str) -> None:
    login = f'\\connect "host=db user={user} password=another-password-0 dbname=network_monitor"\n'
    answer = run_with_input(stack, "db", "psql", "--username=postgres", text=login)
    assert "password authentication failed" in answer or "not permitted to log in" in answer


def test_missing_accounts_are_created_on_an_older_volume(stack: Stack) -> None:
    """On a volume of an early version the superuser owns the tables and functions, and other accounts do not exist."""
    psql = ("psql", "--username=postgres", "--dbname=network_monitor", "--quiet", "--set=ON_ERROR_STOP=1")
    stack.control("stop", "app", "worker")
    drops = ("REASSIGN OWNED BY netmon TO postgres; DROP OWNED BY netmon, monitoring; "
             "DROP ROLE netmon_a, netmon_b, monitoring_a, monitoring_b; DROP ROLE netmon, monitoring")  # fmt: skip
    try:
        assert run_with_input(stack, "db", *psql, text=f"{drops};\n") == ""
        check = stack.run("docker", "exec", stack.container("db")["Id"], "/opt/netmon/postgres-health.sh", check=False)
        assert "password authentication failed" in check.stderr
        assert 'Role "monitoring_a" does not exist' in stack.compose("logs", "db")
    finally:
        stack.exec("db", "/opt/netmon/postgres-accounts.sh")
        stack.control("start", "app", "worker")
    stack.wait_until_recovered()
    test_the_application_owns_its_tables_and_functions(stack)


def test_passwords_of_accounts_are_not_logged(stack: Stack) -> None:
    stack.exec("db", "/opt/netmon/postgres-accounts.sh")
    for service in ("db", "redis"):
        done = stack.run("docker", "logs", stack.container(service)["Id"])
        for name in ("postgres", "postgres_app", "postgres_monitoring", "redis", "redis_app", "redis_monitoring"):
            assert secret(stack, f"{name}_password") not in done.stdout + done.stderr, (service, name)


def test_redis_rejects_clients_without_an_account(stack: Stack) -> None:
    for command in ("PING", "GET netmon:x", f"AUTH {secret(stack, 'redis_password')}"):
        answer = run_with_input(stack, "redis", "redis-cli", text=f"{command}\n")
        assert answer.startswith(("NOAUTH", "WRONGPASS")), answer


def test_the_application_can_use_its_own_keys(stack: Stack) -> None:
    commands = ("SET netmon:test 1 EX 60", "GET netmon:test", "MGET netmon:test", "DEL netmon:test")
    assert redis(stack, "app", *commands) == ["OK", "1", "1", "1"]


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG GET maxmemory", "FLUSHALL", "FLUSHDB", "KEYS *", "SCAN 0", "ACL LIST", "ACL SETUSER netmon +@all",
        "CLIENT LIST", "SHUTDOWN NOSAVE", "SAVE", "MONITOR", "REPLICAOF localhost 1", "INFO",
        "GET other", "MGET netmon:test other", "SET other 1", "DEL other",
        "EVAL 'return redis.call(\"GET\", \"other\")' 0",
        "EVAL 'return redis.call(\"FLUSHALL\")' 0",
    ],
)  # fmt: skip
def test_the_application_is_denied_other_keys_and_commands_in_redis(stack: Stack, command: str) -> None:
    [answer, *_] = redis(stack, "app", command)
    assert "no permissions" in answer.lower(), answer


@pytest.mark.parametrize("command", ["GET netmon:test", "SET netmon:test 1", "SCAN 0", "FLUSHALL", "CONFIG SET dir /",
                                     "ACL LIST", "EVAL 'return 1' 0", "CLIENT LIST"])  # fmt: skip
def test_monitoring_is_denied_keys_and_commands_in_redis(stack: Stack, command: str) -> None:
    [answer, *_] = redis(stack, "monitoring", command)
    assert "NOPERM" in answer, answer


def test_the_exporters_log_in_and_read_every_metric(stack: Stack) -> None:
    # Another test removes the accounts for a moment, and a scrape in it is denied.
    began = f"--since={datetime.now(UTC).isoformat()}"
    wget = ("wget", "-q", "-O", "-")
    found = stack.exec("redis-exporter", *wget, "http://127.0.0.1:9121/metrics")
    for metric in ("redis_up 1", "redis_memory_max_bytes", "redis_slowlog_length", "redis_db_keys", "redis_max_clients",
                   "redis_exporter_last_scrape_error{err=\"\"} 0"):  # fmt: skip
        assert metric in found, metric
    found = stack.exec("postgres-exporter", *wget, "http://127.0.0.1:9187/metrics")
    assert "pg_up 1" in found
    assert "pg_stat_database_xact_commit" in found
    assert not [
        line for line in found.splitlines() if line.startswith("pg_scrape_collector_success") and line[-1] == "0"
    ]
    assert "NOPERM" not in stack.compose("logs", began, "redis-exporter")
    assert DENIED not in stack.compose("logs", began, "postgres-exporter")


def test_every_password_is_accepted_by_its_service(stack: Stack) -> None:
    report = stack.invoke("secrets.check").stdout
    assert "db accepts it" in report
    assert "redis accepts it" in report


def test_a_drifted_password_is_reported_with_its_fix(stack: Stack) -> None:
    other = "ALTER ROLE monitoring_a PASSWORD 'another-password-0'"
    stack.exec("db", "psql", "--username=postgres", "--command", other)
    try:
        done = stack.invoke("secrets.check", check=False)
        assert done.returncode == 1
        assert "failed   postgres_monitoring_password" in done.stdout, done.stdout
        assert "postgres-accounts.sh" in done.stdout
    finally:
        stack.exec("db", "/opt/netmon/postgres-accounts.sh")
    stack.wait_until_recovered()
    stack.invoke("secrets.check")
