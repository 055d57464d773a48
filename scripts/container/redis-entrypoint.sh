#!/bin/sh
# Redis' start: the accounts reach the server on standard input, no password is in its arguments or environment.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
admin=$(credential REDIS_PASSWORD)
netmon=$(credential REDIS_APP_PASSWORD)
monitoring=$(credential REDIS_MONITORING_PASSWORD)
unset REDIS_PASSWORD REDIS_APP_PASSWORD REDIS_MONITORING_PASSWORD
# monitoring: what the exporter and the health check ask, and no key.
exec docker-entrypoint.sh redis-server /etc/redis/redis.conf - <<CONFIG
user default off
user admin on >$admin ~* &* +@all
user netmon on >$netmon $REDIS_APP_RIGHTS
user monitoring on >$monitoring +ping +info +client|setname +config|get +latency|latest +latency|histogram +slowlog|len +slowlog|get
CONFIG
