#!/bin/sh
# Start the Kafka exporter after waiting for Kafka: the program exits while the broker is unavailable, and after a
# reboot the engine ignores `depends_on`. With the secrets layer the password is passed in a file on a tmpfs: the
# program accepts it as a flag only, but reads flags from a file as well.
set -eu

# kafka_answers: the broker answers an ApiVersions request (key 18, version 0), which requires no login.
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

# Without a trap a shell ignores the signal as process 1.
trap 'exit 143' TERM
kafka_answers || echo 'waiting for Kafka'
until kafka_answers; do sleep 1; done
exec /bin/kafka_exporter "$@"
