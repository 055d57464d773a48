#!/bin/sh
# Healthy: a client on the network logs in with the password and finds the first initialisation complete.
# Over the container's own address, since the image trusts every login from 127.0.0.1 and the socket.
set -eu
PGPASSWORD=${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:-/dev/null}")}
export PGPASSWORD PGCONNECT_TIMEOUT=2
exec psql --quiet --tuples-only --no-psqlrc --host "$(hostname)" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --command 'SELECT completed_at FROM platform.initialisation'
