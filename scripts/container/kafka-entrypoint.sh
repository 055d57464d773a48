#!/bin/sh
# Kafka's start: the broker alone gets the agent that shows its metrics. In the container's environment every tool that
# is run beside the broker would load it too, and fail on the port that the broker has taken.
set -eu
export KAFKA_OPTS="${KAFKA_OPTS:-} -javaagent:/opt/jmx/jmx_prometheus_javaagent.jar=9404:/etc/jmx/kafka.yml"
exec /__cacert_entrypoint.sh /etc/kafka/docker/run
