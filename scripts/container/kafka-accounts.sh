#!/usr/bin/env bash
# Create the accounts and ACLs of Kafka's clients over the loopback listener, once the broker is up. The broker stores
# both, so this runs at the first start, and again after a change of a secret or of this script.
set -euo pipefail
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh

ADMIN_HOST=localhost ADMIN_PORT=29091
# Fingerprint of the input that the accounts were created from; empty during creation, when the health check fails.
CREATED=$KAFKA_LOG_DIRS/netmon-accounts
# The broker's heap is too large for a short-lived tool.
export KAFKA_HEAP_OPTS=-Xmx128m KAFKA_JVM_PERFORMANCE_OPTS='-XX:+UseSerialGC -XX:TieredStopAtLevel=1'

# Identity and change time of the secrets' files, not their content: even a hash of that would need protection.
fingerprint() {
  echo "$KAFKA_APP_TOPICS $KAFKA_APP_GROUPS"
  stat -c '%n %i %Z' "$KAFKA_APP_USER_FILE" "$KAFKA_APP_PASSWORD_FILE" "$KAFKA_MONITORING_PASSWORD_FILE" "$0"
}

tool() { "/opt/kafka/bin/kafka-$1.sh" --bootstrap-server "$ADMIN_HOST:$ADMIN_PORT" "${@:2}" >/dev/null; }

# set_password ACCOUNT PASSWORD: the tool reads the password from a pipe, so it is in no argument list, environment or file.
set_password() {
  tool configs --alter --entity-type users --entity-name "$1" \
    --add-config-file <(printf 'SCRAM-SHA-512=password=%s\n' "$2")
}

# repeat_option OPTION LIST: the option once for each item of a comma-separated list.
repeat_option() { tr , '\n' <<<"$2" | sed "s/^/$1=/"; }

make_accounts() {
  local user unused own
  user=$(credential KAFKA_APP_USER)
  unused=netmon_a
  [[ $user == netmon_b ]] || unused=netmon_b
  # The smoke checks use the topic smoke.
  mapfile -t own < <(repeat_option --topic "$KAFKA_APP_TOPICS,smoke" && repeat_option --group "$KAFKA_APP_GROUPS")
  # The application uses one of two accounts; the unused one, if it exists, gets a random password.
  { [[ ! $rerun ]] || set_password "$unused" "$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')"; } &&
    set_password "$user" "$(credential KAFKA_APP_PASSWORD)" &&
    set_password monitoring "$(credential KAFKA_MONITORING_PASSWORD)" &&
    tool acls --add --producer --consumer --allow-principal User:netmon_a --allow-principal User:netmon_b "${own[@]}" &&
    tool acls --add --operation Describe --allow-principal User:monitoring --topic '*' --group '*'
}

fingerprint=$(fingerprint)
[[ $fingerprint != "$(cat "$CREATED" 2>/dev/null)" ]] || exit 0
rerun=''
[[ ! -e $CREATED ]] || rerun=1
: >"$CREATED"
until (exec 3<>"/dev/tcp/$ADMIN_HOST/$ADMIN_PORT") 2>/dev/null; do sleep 0.2; done
until make_accounts; do sleep 1; done
echo "$fingerprint" >"$CREATED"
