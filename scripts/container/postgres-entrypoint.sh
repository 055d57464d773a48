#!/bin/sh
# PostgreSQL's entry point: initialise an empty volume in a subshell, then start the server without the passwords. The
# image's entry script alone would leave the superuser's password in the server's environment.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
credentials='POSTGRES_PASSWORD POSTGRES_APP_USER POSTGRES_APP_PASSWORD POSTGRES_MONITORING_USER POSTGRES_MONITORING_PASSWORD
POSTGRES_BACKUP_PASSWORD'
# Checked before anything is written: a first start that fails half-way leaves an unusable volume.
for name in $credentials; do
  credential "$name" >/dev/null
done
# The image would initialise an empty database beside data of another version or layout. `invoke up` looks at it before
# the start; this is for plain docker compose.
folder=${PGDATA:-}
if [ -n "$folder" ] && [ ! -s "$folder/PG_VERSION" ]; then
  for file in "${folder%/*/*}"/PG_VERSION "${folder%/*/*}"/*/PG_VERSION "${folder%/*/*}"/*/*/PG_VERSION; do
    if [ -s "$file" ]; then
      echo "error: $file is of PostgreSQL $(cat "$file"), whose data would be ignored" >&2
      exit 78
    fi
  done
fi
(
  # initdb and the server that runs init-db.sql have the password in their environment too. They get a temporary one;
  # init-db.sql reads the real one from its file, under another name, and sets it before any client can connect.
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    export SUPERUSER_CREDENTIAL=POSTGRES_REAL_PASSWORD POSTGRES_REAL_PASSWORD_FILE="$POSTGRES_PASSWORD_FILE"
    unset POSTGRES_PASSWORD_FILE
    POSTGRES_PASSWORD=$(head -c 24 /dev/urandom | base64)
    export POSTGRES_PASSWORD
  fi
  docker-ensure-initdb.sh "$@"
)
# Replication is not among the databases that `all` names. Volumes that are older than this role lack the line as well.
replication='host replication backup all scram-sha-256'
permitted=
while read -r line; do
  [ "$line" != "$replication" ] || permitted=yes
done <"$PGDATA/pg_hba.conf"
[ -n "$permitted" ] || printf '\n%s\n' "$replication" >>"$PGDATA/pg_hba.conf"
for name in $credentials; do
  unset "$name"
done
unset POSTGRES_PASSWORD_FILE
exec docker-entrypoint.sh "$@"
