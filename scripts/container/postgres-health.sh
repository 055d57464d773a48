#!/bin/sh
# Healthy: a client logs in over the network with a password and finds the first initialisation complete.
# Connects to the container's own address, since the image trusts every login from 127.0.0.1 and the socket. psql starts
# on the socket because it reads a password from its input for every connection but the first.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
user=$(credential POSTGRES_MONITORING_USER)
password=$(credential POSTGRES_MONITORING_PASSWORD)
export PGCONNECT_TIMEOUT=2
host=$(hostname)
# The folder of the server first: psql in /usr/bin is a wrapper in Perl, which costs more than psql itself.
server=$(command -v postgres)
PATH=${server%/*}:$PATH
# Wait for a server that is starting: that costs less CPU than another health check.
timeout 2 sh -c "until pg_isready --quiet --host $host; do sleep 0.2; done" || {
  echo "the server accepts no connections"
  exit 1
}
exec psql --quiet --tuples-only --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<SQL
\connect "host=$host user=$user password=$password dbname=$POSTGRES_DB"
SELECT completed_at FROM platform.initialisation;
SQL
