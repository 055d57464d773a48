#!/bin/sh
# Give the data folder to the user redis and become it, where started as root; then become the command.
# The published image has modules, and appends an option for each to the arguments of the server. Debian has none, so an
# option that changes nothing is appended: whoever cannot bear one more cannot do so here either.
set -eu

case ${1:-} in
  -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  find /data \! -user redis -exec chown redis:redis '{}' +
  exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
fi

# What the server writes is for itself alone.
[ "$(umask)" != 0022 ] || umask 0077
if [ "$1" = redis-server ]; then
  set -- "$@" --always-show-logo no
fi
exec "$@"
