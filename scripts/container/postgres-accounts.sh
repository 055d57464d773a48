#!/bin/sh
# Give the database of an older volume its accounts, and every account the password that this container has.
set -eu
exec psql --quiet --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --file /docker-entrypoint-initdb.d/init-db.sql
