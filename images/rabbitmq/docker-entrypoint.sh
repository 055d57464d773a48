#!/bin/sh
# If started as root, change the owner of the data folder to rabbitmq and run as that user; then run the command.
# The server itself reads RABBITMQ_DEFAULT_USER, RABBITMQ_DEFAULT_PASS and RABBITMQ_DEFAULT_VHOST.
set -eu

for name in DEFAULT_USER_FILE DEFAULT_PASS_FILE VM_MEMORY_HIGH_WATERMARK \
  SSL_CACERTFILE SSL_CERTFILE SSL_KEYFILE SSL_DEPTH SSL_FAIL_IF_NO_PEER_CERT SSL_VERIFY \
  MANAGEMENT_SSL_CACERTFILE MANAGEMENT_SSL_CERTFILE MANAGEMENT_SSL_KEYFILE MANAGEMENT_SSL_DEPTH \
  MANAGEMENT_SSL_FAIL_IF_NO_PEER_CERT MANAGEMENT_SSL_VERIFY; do
  if [ -n "$(printenv "RABBITMQ_$name")" ]; then
    echo "error: RABBITMQ_$name is not supported: use a configuration file" >&2
    exit 1
  fi
done

if [ "$1" = rabbitmq-server ] && [ "$(id -u)" = 0 ]; then
  find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq:rabbitmq '{}' +
  exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi

exec "$@"
