#!/bin/sh
# PostgreSQL's start: initialise an empty volume in a process of its own, then start the server without the password.
# The image's entry script exports the password's value into the server's environment, where it would stay readable.
set -eu
docker-ensure-initdb.sh "$@"
unset POSTGRES_PASSWORD POSTGRES_PASSWORD_FILE
exec docker-entrypoint.sh "$@"
