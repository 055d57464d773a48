#!/usr/bin/env bash
# Kafka's entry point: start the broker and, with the secrets layer, create the clients' accounts in the background.
set -euo pipefail
if [[ -n ${KAFKA_APP_USER_FILE:-} ]]; then
  # shellcheck source=scripts/container/credential.sh
  . /opt/netmon/credential.sh
  for name in KAFKA_APP_USER KAFKA_APP_PASSWORD KAFKA_MONITORING_PASSWORD; do
    credential "$name" >/dev/null
  done
  if [[ $(credential KAFKA_APP_USER) != netmon_[ab] ]]; then
    echo "error: the account of the application must be netmon_a or netmon_b; check secrets/kafka_app_user.txt" >&2
    exit 78
  fi
  /opt/netmon/kafka-accounts.sh &
fi
# The broker would read these as its own settings.
unset KAFKA_APP_USER_FILE KAFKA_APP_PASSWORD_FILE KAFKA_APP_TOPICS KAFKA_APP_GROUPS KAFKA_MONITORING_PASSWORD_FILE
# The metrics agent is for the broker only: set in the container's environment, every tool would load it too, and fail
# because the broker uses its port.
export KAFKA_OPTS="${KAFKA_OPTS:-} -javaagent:/opt/jmx/jmx_prometheus_javaagent.jar=9404:/etc/jmx/kafka.yml"
exec /__cacert_entrypoint.sh /etc/kafka/docker/run
