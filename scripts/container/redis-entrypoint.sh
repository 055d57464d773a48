#!/bin/sh
# Start Redis: the accounts are passed on standard input, so no password is in its arguments or environment.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
admin=$(credential REDIS_PASSWORD)
netmon=$(credential REDIS_APP_PASSWORD)
monitoring=$(credential REDIS_MONITORING_PASSWORD)
unset REDIS_PASSWORD REDIS_APP_PASSWORD REDIS_MONITORING_PASSWORD
unset REDIS_PASSWORD_FILE REDIS_APP_PASSWORD_FILE REDIS_MONITORING_PASSWORD_FILE
# Starts the server itself, not the image's entry script, which since Redis 8 appends --loadmodule options: the server
# accepts `-`, standard input, as the last argument only. Except for the umask, the rest of that script is for root.
umask 077
# monitoring: the commands of the exporter and the health check, and no key.
exec redis-server /etc/redis/redis.conf - <<CONFIG
user default off
user admin on >$admin ~* &* +@all
user netmon on >$netmon $REDIS_APP_RIGHTS
user monitoring on >$monitoring +ping +info +client|setname +config|get +latency|latest +latency|histogram +slowlog|len +slowlog|get
CONFIG
