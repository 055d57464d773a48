#!/bin/sh
# Redis' start: the password reaches the server on standard input, not in its arguments or environment.
set -eu
password=${REDIS_PASSWORD:-$(cat "${REDIS_PASSWORD_FILE:-/dev/null}")}
if [ -z "$password" ]; then
  echo 'error: the Redis password is empty; run "invoke setup" and check secrets/redis_password.txt' >&2
  exit 78
fi
unset REDIS_PASSWORD
exec docker-entrypoint.sh redis-server /etc/redis/redis.conf - <<CONFIG
requirepass "$password"
CONFIG
