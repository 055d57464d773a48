#!/bin/sh
# The Kafka exporter's entry point: wait for Kafka, since the exporter exits while the broker is unavailable, and the
# engine ignores `depends_on` after a reboot. The exporter accepts a password as a flag only: with the secrets layer it
# reads its flags from a file on a tmpfs.
set -eu

# kafka_answers: the broker answers an ApiVersions request (key 18, version 0), which needs no login.
kafka_answers() {
  answer=$(printf '\000\000\000\012\000\022\000\000\000\000\060\071\000\000' | timeout 3 nc kafka 29092 2>/dev/null |
    head -c 10 | od -An -tx1 -v | tr -d ' \n')
  case $answer in ????????000030390000) ;; *) return 1 ;; esac
}

if [ -n "${KAFKA_MONITORING_PASSWORD_FILE:-}" ]; then
  # shellcheck source=scripts/container/credential.sh
  . /opt/netmon/credential.sh
  password=$(credential KAFKA_MONITORING_PASSWORD)
  umask 077
  printf '%s\n' --sasl.enabled --sasl.mechanism=scram-sha512 --sasl.username=monitoring "--sasl.password=$password" \
    >/run/kafka-exporter/flags
  set -- "$@" @/run/kafka-exporter/flags
fi

# Without a trap, a shell as process 1 ignores SIGTERM.
trap 'exit 143' TERM
kafka_answers || echo 'waiting for Kafka'
until kafka_answers; do sleep 1; done
exec /bin/kafka_exporter "$@"
