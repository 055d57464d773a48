#!/bin/sh
# usage: http-health.sh PORT PATH
# Healthy: the application in this container answers PATH with 200. Uses the cheapest HTTP client that the image
# has, so that a replacement application needs no particular one.
set -eu
port=$1 path=$2
if command -v bash >/dev/null; then
  exec bash -c '. /opt/netmon/connect.sh && connect 127.0.0.1 "$1" && printf "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n" "$2" >&3 &&
    read -r -t 2 status <&3 && [[ $status == "HTTP/1."?" 200"* ]]' health "$port" "$path"
fi
url="http://127.0.0.1:$port$path"
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY
if command -v wget >/dev/null; then
  exec wget -q -T 2 -O /dev/null "$url"
elif command -v curl >/dev/null; then
  exec curl -fsS -m 2 -o /dev/null "$url"
elif command -v python3 >/dev/null; then
  exec python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)' "$url"
elif command -v node >/dev/null; then
  exec node -e 'fetch(process.argv[1], { signal: AbortSignal.timeout(2000) }).then((r) => process.exit(r.status === 200 ? 0 : 1), () => process.exit(1))' "$url"
fi
echo "no HTTP client in this image: define a health check of the service in docker-compose.override.yml" >&2
exit 1
