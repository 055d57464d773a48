#!/usr/bin/env bash
# Create the database if there is none, and exit. Takes the arguments of `postgres`, for the server that runs the
# scripts of /docker-entrypoint-initdb.d.
# shellcheck source=images/postgres/docker-entrypoint.sh
source /usr/local/bin/docker-entrypoint.sh

[[ "${1:-}" == postgres ]] || set -- postgres "$@"
load_settings
leave_root "$@"
database_exists || initialise "$@"
