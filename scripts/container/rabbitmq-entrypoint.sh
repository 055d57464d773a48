#!/usr/bin/env bash
# RabbitMQ's start: write the accounts down on a tmpfs, as hashes, then start the server, which takes them over at every
# start: secrets/ decides who logs in, and a password that was replaced there is refused from then on.
set -euo pipefail
# shellcheck source=scripts/container/credential.sh
. /opt/netmon/credential.sh
admin=$(credential RABBITMQ_PASSWORD)
user=$(credential RABBITMQ_APP_USER)
app=$(credential RABBITMQ_APP_PASSWORD)
monitoring=$(credential RABBITMQ_MONITORING_PASSWORD)
unset RABBITMQ_PASSWORD RABBITMQ_APP_USER RABBITMQ_APP_PASSWORD RABBITMQ_MONITORING_PASSWORD

# The application uses one of two accounts; the other one has no password, so nobody logs in to it.
case $user in
  netmon_a) unused=netmon_b ;;
  netmon_b) unused=netmon_a ;;
  *)
    echo 'error: the application has the accounts netmon_a and netmon_b; check secrets/rabbitmq_app_user.txt' >&2
    exit 78
    ;;
esac
# The queue of a smoke check lives as long as its connection.
own="^($RABBITMQ_APP_RESOURCES|smoke-[0-9a-f]{32})\$"
# Every queue is written to over the default exchange.
written="^($RABBITMQ_APP_RESOURCES|amq[.]default)\$"

# password_hash PASSWORD: in base64, a salt of 4 bytes and the SHA-256 of salt and password.
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

# rights NAME CONFIGURE WRITE READ: regular expressions of what the account may do this with.
rights() {
  printf '{"user": "%s", "vhost": "/", "configure": "%s", "write": "%s", "read": "%s"}' "${@//\\/\\\\}"
}

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
    $(rights admin '.*' '.*' '.*'),
    $(rights "$user" "$own" "$written" "$own"),
    $(rights "$unused" "$own" "$written" "$own")
  ]
}
JSON
exec docker-entrypoint.sh rabbitmq-server
