#!/usr/bin/env bash
# Create the database at the first start, then run the command. docker-ensure-initdb.sh sources this file for the first
# part.
set -Eeuo pipefail

fail() {
  printf 'docker-entrypoint: %s\n' "$*" >&2
  exit 1
}

# X_FILE is a file with the value of X. It is read here, because a secret may be readable by root only.
load_setting() {
  local name=$1 file_name="$1_FILE" default=${2:-}
  if [[ -n "${!file_name:-}" ]]; then
    [[ -z "${!name:-}" ]] || fail "$name and $file_name are both set; set one"
    export "$name=$(<"${!file_name}")"
    unset "$file_name"
  else
    export "$name=${!name:-$default}"
  fi
}

load_settings() {
  load_setting POSTGRES_PASSWORD
  load_setting POSTGRES_USER postgres
  load_setting POSTGRES_DB "$POSTGRES_USER"
  load_setting POSTGRES_INITDB_ARGS
}

# If started as root, run this script again as the user postgres.
leave_root() {
  [[ "$(id -u)" == 0 ]] || return 0
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
}

database_exists() { [[ -s "$PGDATA/PG_VERSION" ]]; }

create_cluster() {
  [[ -n "$POSTGRES_PASSWORD" ]] || fail "a new database needs POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
  local arguments
  read -ra arguments <<<"$POSTGRES_INITDB_ARGS"
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --set=listen_addresses='*' \
    "${arguments[@]}"
  # initdb trusts the socket and the loopback addresses; other addresses require a password.
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
}

# The server listens on its socket only until the scripts have run, so that no client sees a partial database.
start_socket_server() {
  shift
  pg_ctl start --wait --options="$(printf '%q ' "$@" -c listen_addresses= -p 5432)"
}

sql() { psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --no-password "$@"; }

create_database() {
  [[ "$POSTGRES_DB" != postgres ]] || return 0
  sql --dbname=postgres --set=name="$POSTGRES_DB" <<<'CREATE DATABASE :"name";'
}

run_init_files() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh)
        printf '%s: running %s\n' "${0##*/}" "$file"
        # As upstream, an executable script is run, any other is sourced.
        # shellcheck disable=SC1090
        if [[ -x $file ]]; then "$file"; else source "$file"; fi
        ;;
      *.sql)
        printf '%s: running %s\n' "${0##*/}" "$file"
        sql --dbname="$POSTGRES_DB" --file="$file"
        ;;
      *) [[ ! -e $file ]] || printf '%s: ignoring %s\n' "${0##*/}" "$file" ;;
    esac
  done
}

initialise() {
  create_cluster
  start_socket_server "$@"
  create_database
  run_init_files
  pg_ctl stop --wait --mode=fast
}

main() {
  [[ "${1:-}" != -* ]] || set -- postgres "$@"
  if [[ "$1" == postgres ]]; then
    load_settings
    leave_root "$@"
    database_exists || initialise "$@"
  fi
  exec "$@"
}

[[ "${BASH_SOURCE[0]}" != "$0" ]] || main "$@"
