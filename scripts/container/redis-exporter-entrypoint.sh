#!/bin/sh
# The Redis exporter's start: the password reaches the program as a file on a tmpfs, not in its environment or arguments.
set -eu
password=${REDIS_PASSWORD:-$(cat "${REDIS_PASSWORD_FILE:-/dev/null}")}
if [ -z "$password" ]; then
  echo 'error: the Redis password is empty; run "invoke setup" and check secrets/redis_password.txt' >&2
  exit 78
fi
unset REDIS_PASSWORD
umask 077
printf '{"%s": "%s"}\n' "$REDIS_ADDR" "$password" >/run/redis-exporter/passwords.json
export REDIS_PASSWORD_FILE=/run/redis-exporter/passwords.json
exec /redis_exporter
