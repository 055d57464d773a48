#!/usr/bin/env bash
# Healthy: the account monitoring logs in to the management API and no local alarm blocks publishers.
# Uses bash's /dev/tcp, so that the password is in no argument list, and no Erlang VM has to start.
set -euo pipefail
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
# shellcheck source=scripts/container/connect.sh
. /opt/netmon/connect.sh
password=$(credential RABBITMQ_MONITORING_PASSWORD)
account=$(printf 'monitoring:%s' "$password" | base64 | tr -d '\n')
connect "$(hostname)" 15672
printf 'GET /api/health/checks/local-alarms HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' "$account" >&3
read -r -t 2 status <&3
[[ $status == 'HTTP/1.'?' 200'* ]] || { echo "the management API answers: $status"; exit 1; }
