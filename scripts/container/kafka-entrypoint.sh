#!/usr/bin/env bash
# Start Kafka; with the secrets layer, create the accounts of its clients in the background.
set -euo pipefail
if [[ -n ${KAFKA_APP_USER_FILE:-} ]]; then
  # shellcheck source=scripts/container/credential.sh
  . /opt/netmon/credential.sh
  for name in KAFKA_APP_USER KAFKA_APP_PASSWORD KAFKA_MONITORING_PASSWORD; do
    credential "$name" >/dev/null
  done
  if [[ $(credential KAFKA_APP_USER) != netmon_[ab] ]]; then
    echo 'error: the application has the accounts netmon_a and netmon_b; check secrets/kafka_app_user.txt' >&2
    exit 78
  fi
  /opt/netmon/kafka-accounts.sh &
fi
# The broker would interpret these as its own settings.
unset KAFKA_APP_USER_FILE KAFKA_APP_PASSWORD_FILE KAFKA_APP_TOPICS KAFKA_APP_GROUPS KAFKA_MONITORING_PASSWORD_FILE
# Only the broker gets the agent that exports its metrics. In the container's environment every tool would load it too,
# and fail to bind the port that the broker uses.
export KAFKA_OPTS="${KAFKA_OPTS:-} -javaagent:/opt/jmx/jmx_prometheus_javaagent.jar=9404:/etc/jmx/kafka.yml"
exec /__cacert_entrypoint.sh /etc/kafka/docker/run
