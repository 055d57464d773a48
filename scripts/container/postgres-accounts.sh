#!/bin/sh
# Create the accounts that an older volume lacks, and set every account's password to the one of this container.
set -eu
exec psql --quiet --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --file /docker-entrypoint-initdb.d/init-db.sql
