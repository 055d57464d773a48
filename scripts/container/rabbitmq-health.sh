#!/usr/bin/env bash
# Healthy: the account monitoring logs in to the management API, no local alarm blocks publishers, and every queue has a
# leader. Uses bash's /dev/tcp, so that the password is in no argument list, and no Erlang VM has to start.
set -euo pipefail
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
# shellcheck source=scripts/container/connect.sh
. /opt/netmon/connect.sh
password=$(credential RABBITMQ_MONITORING_PASSWORD)
account=$(printf 'monitoring:%s' "$password" | base64 | tr -d '\n')

# A disk without a free byte ends the queues or the metadata of a node that runs on, and only a new start recovers them.
# The engine starts a container again whose main process has ended.
restart_if_broken() {
  local ended='lists:member(undefined, [whereis(S) || S <- [ra_server_sup_sup, ra_coordination_server_sup_sup]]).'
  [[ $(rabbitmqctl --quiet eval "$ended") != true ]] || pkill -KILL beam.smp
}

# check NAME: a health check of the management API.
check() {
  local status
  connect "$(hostname)" 15672
  printf 'GET /api/health/checks/%s HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' "$1" "$account" >&3
  read -r -t 2 status <&3
  [[ $status == 'HTTP/1.'?' 200'* ]] && return
  # Not for an alarm, which ends by itself. In the background, since it starts an Erlang VM, which may take longer than
  # a health check.
  [[ $1 == local-alarms && $status == *' 503 '* ]] || restart_if_broken >/dev/null 2>&1 &
  echo "the management API answers to $1: $status"
  exit 1
}

check local-alarms
check quorum-queues-without-elected-leaders/all-vhosts/pattern/.*
