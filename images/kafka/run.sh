#!/usr/bin/env bash
# Convert the KAFKA_ variables to a configuration, format the log folders at the first start, then run the broker.
set -euo pipefail
# Until the broker runs, SIGTERM stops the start after the current step.
trap 'exit 143' TERM

export CLUSTER_ID=${CLUSTER_ID:-bmV0d29yay1tb25pdG9yMQ}

# Without KAFKA_OPTS, whose agent is for the broker only.
if ! output=$(KAFKA_OPTS='' /opt/kafka/bin/kafka-docker-setup.sh --default-configs-dir /etc/kafka/docker \
  --mounted-configs-dir /mnt/shared/config --final-configs-dir /opt/kafka/config 2>&1) &&
  [[ $output != *'already formatted'* ]]; then
  printf '%s\n' "$output" >&2
  exit 1
fi

exec /opt/kafka/bin/kafka-server-start.sh /opt/kafka/config/server.properties
