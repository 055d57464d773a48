# shellcheck shell=bash
# Sourced by health checks in bash.
# connect HOST PORT: open a connection as file descriptor 3. While nothing listens, as in a service that is starting, it
# retries for up to two seconds: that costs less CPU than another health check, for which the engine starts a process in
# the container, and the check succeeds as soon as the service does.
connect() {
  local deadline=$((SECONDS + 2))
  until { exec 3<>"/dev/tcp/$1/$2"; } 2>/dev/null; do
    ((SECONDS < deadline)) || { echo "no connection to port $2"; return 1; }
    sleep 0.2
  done
}
