#!/usr/bin/env bash
# A Docker Engine for development and CI machines that have none. Not for production: install the engine
# of your distribution or of Docker there, and let your init system own it.
#
# usage: engine.sh install | start | stop | status | remove [--data]
#
#   install   Debian 13 and later, Ubuntu: the packaged engine, where it is new enough.
#             Debian 12: engine, Compose and Buildx from Debian testing's packages, under a prefix of their own.
#   start     start the installed engine and wait until it answers
#   stop      stop it; containers stop with it
#   status    say which engine answers; exit code 1 where none does
#   remove    stop it and delete the prefix; with --data its images and volumes too
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

PREFIX=${NETMON_ENGINE_PREFIX:-/opt/netmon-engine}
DATA=${NETMON_ENGINE_DATA:-/var/lib/netmon-engine}
RUN=/run/netmon-engine
LOG=/var/log/netmon-engine.log
PLUGINS=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins
LIB=$PREFIX/usr/lib/x86_64-linux-gnu
# Engine 25 brought start_interval; Compose 2.24 !reset, !override and depends_on.required.
MIN_ENGINE=25
MIN_COMPOSE=2.24

engine_version() { timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null; }
compose_version() { timeout 10 docker compose version --short 2>/dev/null; }

usable() {
  local engine compose
  engine=$(engine_version) && compose=$(compose_version) || return 1
  version_at_least "$engine" "$MIN_ENGINE" && version_at_least "${compose#v}" "$MIN_COMPOSE"
}

status() {
  local engine
  if engine=$(engine_version); then
    say "Docker Engine $engine, Compose $(compose_version || echo 'not installed')"
    if [[ -f $RUN/docker.pid ]] && kill -0 "$(<"$RUN/docker.pid")" 2>/dev/null; then
      say "started by scripts/engine.sh from $PREFIX, log in $LOG"
    fi
    usable || die "Engine ≥ $MIN_ENGINE and Compose ≥ $MIN_COMPOSE are needed" "upgrade Docker"
  else
    say "no Docker Engine answers"
    return 1
  fi
}

# The engine packages of Debian testing on an older Debian: their own C library comes along, and patchelf makes
# every program use it. (runc re-executes itself, so starting it through ld.so by hand would not do.)
install_prefix() {
  [[ "$(dpkg --print-architecture)" == amd64 ]] || die "the private engine is built for amd64 only" "install Docker Engine ≥ $MIN_ENGINE yourself"
  local root partial="$PREFIX.partial"
  "$here/debian-root.sh"
  root=$("$here/debian-root.sh" | tail -n 1)
  quietly "apt-get update" apt-get update
  quietly "apt-get install patchelf iptables" apt-get install -y --no-install-recommends patchelf iptables ca-certificates
  # A second root, so that the base image stays free of the downloads.
  quietly "package lists of Debian testing" chroot "$root" apt-get update
  quietly "download engine packages" chroot "$root" apt-get install -y --no-install-recommends --download-only \
    docker.io docker-cli docker-compose docker-buildx

  rm -rf "$partial"
  mkdir -p "$partial"
  local deb
  for deb in "$root"/var/cache/apt/archives/{docker,containerd,runc,tini}*.deb; do
    dpkg -x "$deb" "$partial"
  done
  mkdir -p "$partial/usr/lib/x86_64-linux-gnu"
  cp -a "$root"/usr/lib/x86_64-linux-gnu/*.so* "$partial/usr/lib/x86_64-linux-gnu/"
  chroot "$root" apt-get clean

  local program
  while IFS= read -r -d '' program; do
    patchelf --print-interpreter "$program" >/dev/null 2>&1 || continue
    patchelf --set-interpreter "$LIB/ld-linux-x86-64.so.2" --set-rpath "$LIB" "$program"
  done < <(find "$partial/usr/bin" "$partial/usr/sbin" "$partial/usr/libexec/docker" "$partial/usr/lib/docker" \
    -type f -perm -u+x -print0 2>/dev/null)
  rm -rf "$PREFIX"
  mv "$partial" "$PREFIX"
}

# Put the client and its plugins where they are found. What is there already and is not ours stays.
link_client() {
  local plugin name
  mkdir -p "$PLUGINS"
  while IFS= read -r plugin; do
    name=$(basename "$plugin")
    [[ -e "$PLUGINS/$name" && ! -L "$PLUGINS/$name" ]] || ln -sfn "$plugin" "$PLUGINS/$name"
  done < <(find "$PREFIX/usr/libexec/docker/cli-plugins" "$PREFIX/usr/lib/docker/cli-plugins" -type f 2>/dev/null)
  command -v docker >/dev/null || ln -s "$PREFIX/usr/bin/docker" /usr/local/bin/docker
}

install() {
  need_root "engine.sh install"
  if usable; then
    say "an engine that is new enough answers already; nothing to install"
    return
  fi
  if [[ -x $PREFIX/usr/sbin/dockerd ]]; then
    link_client
    say "already installed under $PREFIX"
    return
  fi
  [[ -r /etc/os-release ]] || die "unknown distribution" "install Docker Engine ≥ $MIN_ENGINE and Compose ≥ $MIN_COMPOSE"
  # shellcheck source=/dev/null
  source /etc/os-release
  if [[ "$ID" == debian && "${VERSION_ID:-99}" -lt 13 ]]; then
    install_prefix
    link_client
  elif [[ "$ID" == debian || "$ID" == ubuntu ]]; then
    install_packaged
  else
    die "no recipe for $PRETTY_NAME" "install Docker Engine ≥ $MIN_ENGINE and Compose ≥ $MIN_COMPOSE, then run this again"
  fi
}

install_packaged() {
  local candidate compose=docker-compose
  quietly "apt-get update" apt-get update
  candidate=$(apt-cache policy docker.io | awk '/Candidate:/ { print $2 }')
  version_at_least "${candidate%%[+~-]*}" "$MIN_ENGINE" ||
    die "the packaged engine is ${candidate:-absent}, ≥ $MIN_ENGINE is needed" "follow https://docs.docker.com/engine/install/"
  [[ -z "$(apt-cache policy docker-compose-v2)" ]] || compose=docker-compose-v2
  quietly "apt-get install docker.io $compose docker-buildx" apt-get install -y docker.io "$compose" docker-buildx
}

start() {
  need_root "engine.sh start"
  if engine_version >/dev/null; then
    say "Docker Engine $(engine_version) answers already"
    return
  fi
  if [[ ! -x $PREFIX/usr/sbin/dockerd ]]; then
    command -v systemctl >/dev/null && systemctl start docker 2>/dev/null ||
      die "no engine is installed under $PREFIX" "run scripts/engine.sh install"
  else
    mkdir -p "$RUN" "$DATA"
    link_client
    PATH="$PREFIX/usr/sbin:$PREFIX/usr/bin:$PREFIX/usr/libexec/docker:$PATH" \
      setsid "$PREFIX/usr/sbin/dockerd" --data-root "$DATA" --exec-root "$RUN/exec" --pidfile "$RUN/docker.pid" \
      </dev/null >>"$LOG" 2>&1 &
  fi
  local deadline=$((SECONDS + 60))
  until engine_version >/dev/null; do
    ((SECONDS < deadline)) || {
      tail -n 15 "$LOG" >&2 || true
      die "the engine does not answer after 60 s" "read $LOG"
    }
    sleep 0.2
  done
  say "Docker Engine $(engine_version), Compose $(compose_version)"
}

stop() {
  need_root "engine.sh stop"
  local pid
  [[ -f $RUN/docker.pid ]] && pid=$(<"$RUN/docker.pid") && kill "$pid" 2>/dev/null || {
    say "the engine of this script is not running"
    return
  }
  local deadline=$((SECONDS + 60))
  while kill -0 "$pid" 2>/dev/null; do
    ((SECONDS < deadline)) || die "the engine (process $pid) does not stop" "kill -9 $pid"
    sleep 0.2
  done
  say "engine stopped"
}

remove() {
  need_root "engine.sh remove"
  stop
  local link
  for link in "$PLUGINS"/docker-* /usr/local/bin/docker; do
    [[ "$(readlink "$link" || true)" != "$PREFIX"/* ]] || rm -f "$link"
  done
  rm -rf "$PREFIX" "$RUN"
  if [[ "${1:-}" == --data ]]; then
    rm -rf "$DATA"
    say "removed $PREFIX and all images and volumes in $DATA"
  else
    say "removed $PREFIX; images and volumes stay in $DATA (delete them with: engine.sh remove --data)"
  fi
}

case "${1:-}" in
  install | start | stop | status) "$1" ;;
  remove) remove "${2:-}" ;;
  *)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    [[ "${1:-}" == --help ]] || exit 2
    ;;
esac
