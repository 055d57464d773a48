#!/bin/sh
# The Redis exporter's entry point: the exporter reads the password from a file on a tmpfs.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
password=$(credential REDIS_MONITORING_PASSWORD)
unset REDIS_MONITORING_PASSWORD
umask 077
printf '{"redis://%s@%s": "%s"}\n' "$REDIS_USER" "${REDIS_ADDR#redis://}" "$password" >/run/redis-exporter/passwords.json
export REDIS_PASSWORD_FILE=/run/redis-exporter/passwords.json
exec /redis_exporter
