#!/usr/bin/env bash
# RabbitMQ's entry point: write the accounts with hashed passwords to a tmpfs, then start the server, which imports them
# at every start: secrets/ is the source of all accounts, and a replaced password is refused from then on.
set -euo pipefail
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
admin=$(credential RABBITMQ_PASSWORD)
user=$(credential RABBITMQ_APP_USER)
app=$(credential RABBITMQ_APP_PASSWORD)
monitoring=$(credential RABBITMQ_MONITORING_PASSWORD)
unset RABBITMQ_PASSWORD RABBITMQ_APP_USER RABBITMQ_APP_PASSWORD RABBITMQ_MONITORING_PASSWORD

# The application uses one of two accounts; the unused one has no password, which disables its login.
case $user in
  netmon_a) unused=netmon_b ;;
  netmon_b) unused=netmon_a ;;
  *)
    echo "error: the account of the application must be netmon_a or netmon_b; check secrets/rabbitmq_app_user.txt" >&2
    exit 78
    ;;
esac
# The queue of a smoke check exists as long as its connection.
own="^($RABBITMQ_APP_RESOURCES|smoke-[0-9a-f]{32})\$"
# Messages reach every queue through the default exchange.
writable="^($RABBITMQ_APP_RESOURCES|amq[.]default)\$"

# password_hash PASSWORD: base64 of a salt of 4 bytes and the SHA-256 of salt and password.
password_hash() {
  local salt digest
  salt=$(od -An -v -tx1 -N4 /dev/urandom | sed 's/ /\\x/g')
  digest=$({ printf %b "$salt" && printf %s "$1"; } | sha256sum | sed 's/ .*//; s/../\\x&/g')
  printf %b "$salt$digest" | base64
}

# account NAME TAGS PASSWORD_HASH
account() {
  printf '{"name": "%s", "tags": "%s", "password_hash": "%s", "hashing_algorithm": "rabbit_password_hashing_sha256"}' "$@"
}

# permissions NAME CONFIGURE WRITE READ: regular expressions of the resources for each operation.
permissions() {
  printf '{"user": "%s", "vhost": "/", "configure": "%s", "write": "%s", "read": "%s"}' "${@//\\/\\\\}"
}

# policy NAME PATTERN DEFINITION: settings of the queues whose name matches.
policy() {
  printf '{"vhost": "/", "name": "%s", "pattern": "%s", "apply-to": "queues", "priority": 0, "definition": %s}' "$@"
}

# Bounds on disk. Full, a queue of jobs refuses further ones, as the application declares it, and a dead-letter queue
# drops its oldest messages. Those are kept however often someone looks at them.
jobs='{"max-length-bytes": 268435456}'
dead='{"max-length": 10000, "max-length-bytes": 67108864, "overflow": "drop-head", "delivery-limit": -1}'

umask 077
cat >/run/rabbitmq/definitions.json <<JSON
{
  "vhosts": [{"name": "/"}],
  "users": [
    $(account admin administrator "$(password_hash "$admin")"),
    $(account monitoring monitoring "$(password_hash "$monitoring")"),
    $(account "$user" "" "$(password_hash "$app")"),
    $(account "$unused" "" "")
  ],
  "permissions": [
    $(permissions admin '.*' '.*' '.*'),
    $(permissions "$user" "$own" "$writable" "$own"),
    $(permissions "$unused" "$own" "$writable" "$own")
  ],
  "policies": [
    $(policy jobs '^probes([.]batches)?$' "$jobs"),
    $(policy dead-letters '^.+[.]dead$' "$dead")
  ]
}
JSON
exec docker-entrypoint.sh rabbitmq-server
