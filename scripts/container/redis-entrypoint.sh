#!/bin/sh
# Redis' start: the accounts reach the server on standard input, no password is in its arguments or environment.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
admin=$(credential REDIS_PASSWORD)
netmon=$(credential REDIS_APP_PASSWORD)
monitoring=$(credential REDIS_MONITORING_PASSWORD)
unset REDIS_PASSWORD REDIS_APP_PASSWORD REDIS_MONITORING_PASSWORD
unset REDIS_PASSWORD_FILE REDIS_APP_PASSWORD_FILE REDIS_MONITORING_PASSWORD_FILE
# The server itself and not the image's entry script, which appends --loadmodule options since Redis 8: the server takes
# `-`, its standard input, as the last argument only. The rest of that script is for root, but for the umask.
umask 077
# monitoring: what the exporter and the health check ask, and no key.
exec redis-server /etc/redis/redis.conf - <<CONFIG
user default off
user admin on >$admin ~* &* +@all
user netmon on >$netmon $REDIS_APP_RIGHTS
user monitoring on >$monitoring +ping +info +client|setname +config|get +latency|latest +latency|histogram +slowlog|len +slowlog|get
CONFIG
