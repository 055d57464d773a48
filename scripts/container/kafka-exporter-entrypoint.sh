#!/bin/sh
# The Kafka exporter's start: the program takes a password among its flags only, but flags from a file as well. So the
# password is in a file on a tmpfs, and not in the arguments.
set -eu
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
password=$(credential KAFKA_MONITORING_PASSWORD)
umask 077
printf '%s\n' --sasl.enabled --sasl.mechanism=scram-sha512 --sasl.username=monitoring "--sasl.password=$password" \
  >/run/kafka-exporter/flags
exec /bin/kafka_exporter "$@" @/run/kafka-exporter/flags
