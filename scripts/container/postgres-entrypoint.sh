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
docker-ensure-initdb.sh "$@"
for name in $credentials; do
  unset "$name"
done
unset POSTGRES_PASSWORD_FILE
exec docker-entrypoint.sh "$@"
