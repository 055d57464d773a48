#!/bin/sh
# Healthy: a client logs in and is answered. redis-cli exits with 0 on an error reply too, so the reply itself is read.
set -eu
password=${REDIS_PASSWORD:-$(cat "${REDIS_PASSWORD_FILE:-/dev/null}")}
answer=$(printf 'AUTH "%s"\nPING\n' "$password" | timeout 2 redis-cli -h "$(hostname)")
case $answer in *PONG) ;; *) echo "redis says: $answer"; exit 1 ;; esac
