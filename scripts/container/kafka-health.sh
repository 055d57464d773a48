#!/usr/bin/env bash
# Healthy: the broker answers an ApiVersions request (key 18, version 0; needs no login) with the same correlation id
# and no error and, with the secrets layer, the clients' accounts exist.
# Uses bash's /dev/tcp: Kafka's Java tools cost a second of CPU each, and an open port alone proves nothing.
set -euo pipefail
# shellcheck source=scripts/container/connect.sh
. /opt/netmon/connect.sh
connect "$(hostname)" 29092
printf '\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x30\x39\x00\x00' >&3
answer=$(timeout 2 head -c 10 <&3 | od -An -tx1 -v | tr -d ' \n')
[[ ${answer:8} == 000030390000 ]]
if [[ -n ${KAFKA_APP_USER_FILE:-} && ! -s $KAFKA_LOG_DIRS/netmon-accounts ]]; then
  echo "the accounts of the clients are not created yet"
  exit 1
fi
