#!/bin/sh
# Healthy: a client logs in and gets PONG. redis-cli exits with 0 on an error reply too, so the reply itself is checked.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
password=$(credential REDIS_MONITORING_PASSWORD)
answer=$(printf 'AUTH monitoring "%s"\nPING\n' "$password" | timeout 2 redis-cli -h "$(hostname)")
case $answer in *PONG) ;; *) echo "redis answers: $answer"; exit 1 ;; esac
