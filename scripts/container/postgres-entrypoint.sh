#!/bin/sh
# PostgreSQL's start: initialise an empty volume in a process of its own, then start the server without the passwords.
# The image's entry script exports the password's value into the server's environment, where it would stay readable.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
credentials='POSTGRES_PASSWORD POSTGRES_APP_USER POSTGRES_APP_PASSWORD POSTGRES_MONITORING_USER POSTGRES_MONITORING_PASSWORD'
# Before anything is written: a first start that fails half-way leaves a volume that is of no use.
for name in $credentials; do
  credential "$name" >/dev/null
done
(
  # initdb and the server that runs init-db.sql have the password in their environment too. They get one for nothing
  # but that, and init-db.sql reads the file under another name and sets the real one before anybody can connect.
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
    export SUPERUSER_CREDENTIAL=POSTGRES_REAL_PASSWORD POSTGRES_REAL_PASSWORD_FILE="$POSTGRES_PASSWORD_FILE"
    unset POSTGRES_PASSWORD_FILE
    POSTGRES_PASSWORD=$(head -c 24 /dev/urandom | base64)
    export POSTGRES_PASSWORD
  fi
  docker-ensure-initdb.sh "$@"
)
for name in $credentials; do
  unset "$name"
done
unset POSTGRES_PASSWORD_FILE
exec docker-entrypoint.sh "$@"
