#!/bin/sh
# Redis' entry point: the server reads the accounts from standard input; no password is in its arguments or environment.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
admin=$(credential REDIS_PASSWORD)
netmon=$(credential REDIS_APP_PASSWORD)
monitoring=$(credential REDIS_MONITORING_PASSWORD)
unset REDIS_PASSWORD REDIS_APP_PASSWORD REDIS_MONITORING_PASSWORD
unset REDIS_PASSWORD_FILE REDIS_APP_PASSWORD_FILE REDIS_MONITORING_PASSWORD_FILE
# Starts the server directly: the image's entry script appends --loadmodule options since Redis 8, but the server
# accepts `-`, its standard input, as the last argument only. The rest of that script is for root, except the umask.
umask 077
# default: no client can be this user, but Redis loads the append-only file as it. Older versions check its rights
# when they load a transaction, and a script is logged as one: its writes would be lost in a restart.
# monitoring: the commands of the exporter and the health check, and no key.
exec redis-server /etc/redis/redis.conf - <<CONFIG
user default off ~* &* +@all
user admin on >$admin ~* &* +@all
user netmon on >$netmon $REDIS_APP_RIGHTS
user monitoring on >$monitoring +ping +info +client|setname +config|get +latency|latest +latency|histogram +slowlog|len +slowlog|get
CONFIG
