#!/usr/bin/env bash
# Makes the accounts of Kafka's clients and lists what each may do, over the listener on loopback, once the broker is up.
# The broker keeps both, so this is done at the first start, and again when a secret or this script has been replaced.
set -euo pipefail
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh

ADMIN_HOST=localhost ADMIN_PORT=29091
# Says what the accounts were made from; empty while they are being made, and the health check waits for the end of that.
MADE=$KAFKA_LOG_DIRS/netmon-accounts
# The broker's own settings are too large for a tool that lives for a second.
export KAFKA_HEAP_OPTS=-Xmx128m KAFKA_JVM_PERFORMANCE_OPTS='-XX:+UseSerialGC -XX:TieredStopAtLevel=1'

# Which file a secret is, not what it holds: even a hash of that would be one more thing to protect.
sources() {
  echo "$KAFKA_APP_TOPICS $KAFKA_APP_GROUPS"
  stat -c '%n %i %Z' "$KAFKA_APP_USER_FILE" "$KAFKA_APP_PASSWORD_FILE" "$KAFKA_MONITORING_PASSWORD_FILE" "$0"
}

tool() { "/opt/kafka/bin/kafka-$1.sh" --bootstrap-server "$ADMIN_HOST:$ADMIN_PORT" "${@:2}" >/dev/null; }

# set_password ACCOUNT PASSWORD: the tool reads it from a pipe, so it is in no argument list, environment or file.
set_password() {
  tool configs --alter --entity-type users --entity-name "$1" \
    --add-config-file <(printf 'SCRAM-SHA-512=password=%s\n' "$2")
}

# each OPTION LIST: the option with each word of a list that is separated by commas.
each() { tr , '\n' <<<"$2" | sed "s/^/$1=/"; }

make_accounts() {
  local user unused own
  user=$(credential KAFKA_APP_USER)
  unused=netmon_a
  [[ $user == netmon_b ]] || unused=netmon_b
  # The topic smoke is that of smoke checks.
  mapfile -t own < <(each --topic "$KAFKA_APP_TOPICS,smoke" && each --group "$KAFKA_APP_GROUPS")
  # The application uses one of two accounts; if there is the other one, it gets a password that nobody knows.
  { [[ ! $again ]] || set_password "$unused" "$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')"; } &&
    set_password "$user" "$(credential KAFKA_APP_PASSWORD)" &&
    set_password monitoring "$(credential KAFKA_MONITORING_PASSWORD)" &&
    tool acls --add --producer --consumer --allow-principal User:netmon_a --allow-principal User:netmon_b "${own[@]}" &&
    tool acls --add --operation Describe --allow-principal User:monitoring --topic '*' --group '*'
}

sources=$(sources)
[[ $sources != "$(cat "$MADE" 2>/dev/null)" ]] || exit 0
again=''
[[ ! -e $MADE ]] || again=1
: >"$MADE"
until (exec 3<>"/dev/tcp/$ADMIN_HOST/$ADMIN_PORT") 2>/dev/null; do sleep 0.2; done
until make_accounts; do sleep 1; done
echo "$sources" >"$MADE"
