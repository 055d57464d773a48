#!/bin/sh
# Create missing accounts in the database of an older volume, and set every password to that of this container.
set -eu
exec psql --quiet --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --file /docker-entrypoint-initdb.d/init-db.sql
