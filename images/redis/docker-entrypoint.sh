#!/bin/sh
# If started as root, change the owner of the data folder to redis and run as that user; then run the command.
# The published image appends an option for each of its modules to the arguments of the server. Debian has no modules,
# so an option without effect is appended: arguments that break in the published image break here too.
set -eu

case ${1:-} in
  -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  find /data \! -user redis -exec chown redis:redis '{}' +
  exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
fi

# Files of the server are readable by it only.
[ "$(umask)" != 0022 ] || umask 0077
if [ "$1" = redis-server ]; then
  set -- "$@" --always-show-logo no
fi
exec "$@"
