#!/bin/sh
# RabbitMQ's start: put the configuration and the account together on a tmpfs, then start the server.
# The image refuses RABBITMQ_DEFAULT_PASS_FILE, and RABBITMQ_DEFAULT_PASS would stay in the server's environment.
set -eu
password=${RABBITMQ_PASSWORD:-$(cat "${RABBITMQ_PASSWORD_FILE:-/dev/null}")}
if [ -z "$password" ]; then
  echo 'error: the RabbitMQ password is empty; run "invoke setup" and check secrets/rabbitmq_password.txt' >&2
  exit 78
fi
unset RABBITMQ_PASSWORD
umask 077
mkdir -p "$RABBITMQ_CONFIG_FILES"
cp /etc/netmon/rabbitmq/*.conf "$RABBITMQ_CONFIG_FILES"
cat >"$RABBITMQ_CONFIG_FILES/90-account.conf" <<CONFIG
default_user = admin
default_pass = $password
default_vhost = /
CONFIG
exec docker-entrypoint.sh rabbitmq-server
