#!/usr/bin/env bash
# Kafka's start: the accounts of its clients are made beside the broker, where the secrets layer names them.
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
# The broker would take these for settings of its own.
unset KAFKA_APP_USER_FILE KAFKA_APP_PASSWORD_FILE KAFKA_APP_TOPICS KAFKA_APP_GROUPS KAFKA_MONITORING_PASSWORD_FILE
# The broker alone gets the agent that shows its metrics. In the container's environment every tool that is run beside
# the broker would load it too, and fail on the port that the broker has taken.
export KAFKA_OPTS="${KAFKA_OPTS:-} -javaagent:/opt/jmx/jmx_prometheus_javaagent.jar=9404:/etc/jmx/kafka.yml"
exec /__cacert_entrypoint.sh /etc/kafka/docker/run
