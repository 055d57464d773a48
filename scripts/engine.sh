#!/usr/bin/env bash
# A Docker Engine for development and CI machines that have none. Not for production: install the engine
# of your distribution or of Docker there, and let your init system own it.
#
# usage: engine.sh install | start | stop | status | remove [--data]
#
#   install   Debian 13 and later, Ubuntu: the packaged engine, where it is new enough.
#             Debian 12: engine, Compose and Buildx from Debian testing's packages, under a prefix of their own.
#   start     start the installed engine and wait until it answers
#   stop      stop the engine that was started from here; its containers stop with it
#   status    say which engine answers; exit code 1 where none does, 3 where it cannot be used
#   remove    stop it and delete the prefix; with --data its images and volumes too
#
#   NETMON_ENGINE_PREFIX   the programs (/opt/netmon-engine)
#   NETMON_ENGINE_DATA     images, volumes and containers (/var/lib/netmon-engine)
#   NETMON_ENGINE_RUN      process id and sockets of a running engine (/run/netmon-engine)
#   DOCKER_HOST            where it listens, a unix:// address (unix:///var/run/docker.sock)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

PREFIX=${NETMON_ENGINE_PREFIX:-/opt/netmon-engine}
DATA=${NETMON_ENGINE_DATA:-/var/lib/netmon-engine}
RUN=${NETMON_ENGINE_RUN:-/run/netmon-engine}
HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}
LOG=$DATA/engine.log
# Docker's folder for plugins of every account; a plugin in an account's own ~/.docker goes before these.
PLUGINS=/usr/local/lib/docker/cli-plugins
LIB=$PREFIX/usr/lib/x86_64-linux-gnu
# Engine 25 brought start_interval; Compose 2.24 !reset, !override and depends_on.required.
MIN_ENGINE=25
MIN_COMPOSE=2.24
NEEDED="Docker Engine ≥ $MIN_ENGINE and Compose ≥ $MIN_COMPOSE are needed"

engine_version() { timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null; }
compose_version() { timeout 10 docker compose version --short 2>/dev/null; }

# running NAME PIDFILE: print the process id, if that process runs the program NAME (an id is reused after a restart,
# and a dead process that nobody has waited for keeps its id, but no program).
running() {
  local pid
  [[ -s "$2" ]] && pid=$(<"$2") && [[ "$(readlink "/proc/$pid/exe" || true)" == */"$1"* ]] && echo "$pid"
}
daemon() { running dockerd "$RUN/docker.pid"; }

# Systemd owns the packaged engine where it runs; elsewhere (a container, a minimal machine) this script starts it.
private() { [[ -x $PREFIX/usr/sbin/dockerd ]]; }
packaged() { version_at_least "$(dockerd --version 2>/dev/null | awk '{ print $3 }')" "$MIN_ENGINE"; }
systemd_owns() { ! private && packaged && [[ -d /run/systemd/system ]]; }

status() {
  local engine compose
  if engine=$(engine_version); then
    compose=$(compose_version) || compose=
    say "Docker Engine $engine, Compose ${compose:-missing}"
    ! daemon >/dev/null || say "started by scripts/engine.sh, its log is $LOG"
    version_at_least "$engine" "$MIN_ENGINE" ||
      unusable "Docker Engine ≥ $MIN_ENGINE is needed" "upgrade it, or stop it and run scripts/engine.sh install"
    version_at_least "${compose#v}" "$MIN_COMPOSE" ||
      unusable "Compose ≥ $MIN_COMPOSE is needed" "install the package docker-compose-plugin or docker-compose-v2"
  elif [[ "$HOST" == unix://* && -S ${HOST#unix://} && ! -w ${HOST#unix://} ]]; then
    unusable "the account $(id -un) may not use ${HOST#unix://}" "sudo usermod -aG docker $(id -un), then log in again"
  elif [[ "$HOST" != unix://* ]]; then
    unusable "no engine answers at DOCKER_HOST=$HOST" "start it, or unset DOCKER_HOST"
  else
    say "no Docker Engine answers"
    case "$(recipe)" in
      installed) say "scripts/engine.sh start would start the installed one" ;;
      packaged) say "scripts/engine.sh install would install the distribution's packages: docker.io, Compose, Buildx" ;;
      prefix) say "scripts/engine.sh install would put one under $PREFIX, its images and volumes under $DATA," \
        "and install the packages debootstrap, iptables and patchelf" ;;
      *) unusable "scripts/engine.sh has no recipe for this system" "install Docker yourself: $NEEDED" ;;
    esac
    return 1
  fi
}

# How this machine comes to an engine: installed (it only has to be started), packaged, prefix or none.
recipe() {
  local release
  # shellcheck source=/dev/null
  release=$(source /etc/os-release && echo "$ID ${VERSION_ID:-99}") || release=none
  if private || packaged; then
    echo installed
  elif [[ "$release" == "debian "* && "${release#* }" -lt 13 ]]; then
    if [[ "$(uname -m)" == x86_64 ]]; then echo prefix; else echo none; fi
  elif [[ "$release" == "debian "* || "$release" == "ubuntu "* ]]; then
    echo packaged
  else
    echo none
  fi
}

# Exit code 3: there is an engine, and nothing that this script does would help.
unusable() { (die "$@") || exit 3; }

# The engine packages of Debian testing on an older Debian: their own C library comes along, and patchelf makes
# every program use it. (runc re-executes itself, so starting it through ld.so by hand would not do.)
install_prefix() {
  local root partial="$PREFIX.partial" deb program
  apt_install patchelf iptables ca-certificates
  root=$("$here/debian-root.sh")
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  quietly "package lists of Debian testing" chroot "$root" apt-get update
  # Nothing is installed into the root itself: it is the base image as well.
  chroot "$root" apt-get clean
  quietly "download the engine's packages" chroot "$root" apt-get install -y --no-install-recommends --download-only \
    docker.io docker-cli docker-compose docker-buildx

  rm -rf "$partial"
  mkdir -p "$partial/usr/lib/x86_64-linux-gnu"
  for deb in "$root"/var/cache/apt/archives/{docker,containerd,runc,tini}*.deb; do
    dpkg -x "$deb" "$partial"
  done
  cp -a "$root"/usr/lib/x86_64-linux-gnu/*.so* "$partial/usr/lib/x86_64-linux-gnu/"
  chroot "$root" apt-get clean

  while IFS= read -r -d '' program; do
    patchelf --print-interpreter "$program" >/dev/null 2>&1 || continue
    patchelf --set-interpreter "$LIB/ld-linux-x86-64.so.2" --set-rpath "$LIB" "$program"
  done < <(find "$partial"/usr/{bin,sbin,libexec} -type f -perm -u+x -print0)
  rm -rf "$PREFIX"
  mv "$partial" "$PREFIX"
  getent group docker >/dev/null || groupadd --system docker
}

install_packaged() {
  local candidate packages=(docker.io docker-buildx iptables ca-certificates)
  quietly "apt-get update" apt-get update
  candidate=$(candidate_of docker.io)
  version_at_least "$candidate" "$MIN_ENGINE" ||
    die "the packaged engine is ${candidate:-absent}, ≥ $MIN_ENGINE is needed" \
      "follow https://docs.docker.com/engine/install/"
  # Debian packs the client apart; Ubuntu calls Compose 2 docker-compose-v2.
  [[ -z "$(candidate_of docker-cli)" ]] || packages+=(docker-cli)
  if [[ -n "$(candidate_of docker-compose-v2)" ]]; then
    packages+=(docker-compose-v2)
  else
    packages+=(docker-compose)
  fi
  apt_install "${packages[@]}"
}

candidate_of() { apt-cache policy "$1" | sed -n 's/^ *Candidate: \([0-9][^+~-]*\).*/\1/p'; }

# Put the client and its plugins where they are found. What is there already stays.
link_client() {
  local plugin
  mkdir -p "$PLUGINS"
  for plugin in "$PREFIX"/usr/libexec/docker/cli-plugins/*; do
    link "$plugin" "$PLUGINS/${plugin##*/}"
  done
  command -v docker >/dev/null || link "$PREFIX/usr/bin/docker" /usr/local/bin/docker
}

link() { [[ -e "$2" ]] || ln -sfn "$1" "$2"; }

install() {
  need_root "engine.sh install"
  if (status) >/dev/null 2>&1; then
    say "an engine that is new enough answers already: nothing to install"
    return
  fi
  ! engine_version >/dev/null || status
  case "$(recipe)" in
    installed) say "already installed" ;;
    packaged) install_packaged ;;
    prefix) install_prefix ;;
    *) die "there is no recipe for this system" "install Docker yourself: $NEEDED" ;;
  esac
  ! private || link_client
}

# A folder to put first on PATH where the kernel has no nf_tables and the system's iptables needs them.
legacy_iptables() {
  if iptables --list --numeric >/dev/null 2>&1 || ! iptables-legacy --list --numeric >/dev/null 2>&1; then
    return
  fi
  mkdir -p "$RUN/iptables"
  ln -sfn "$(command -v iptables-legacy)" "$RUN/iptables/iptables"
  ln -sfn "$(command -v ip6tables-legacy)" "$RUN/iptables/ip6tables"
  echo "$RUN/iptables:"
}

start() {
  need_root "engine.sh start"
  if engine_version >/dev/null; then
    status
    return
  fi
  if systemd_owns; then
    systemctl start docker
  else
    private || packaged || die "no engine is installed" "run scripts/engine.sh install"
    [[ "$HOST" == unix://* ]] || status
    launch
  fi
  status
}

# Start the engine and wait until it answers or ends.
launch() {
  local path=$PATH process deadline=$((SECONDS + 60))
  if private; then
    link_client
    # The engine starts containerd, its shim, runc and docker-proxy by name.
    path=$PREFIX/usr/sbin:$PREFIX/usr/bin:$PATH
  fi
  mkdir -p "$RUN" "$DATA"
  path=$(legacy_iptables)$path
  # dockerd refuses to start where any process has the id in an old file.
  daemon >/dev/null || rm -f "$RUN/docker.pid"
  PATH=$path setsid dockerd --host "$HOST" --data-root "$DATA" --exec-root "$RUN/exec" --pidfile "$RUN/docker.pid" \
    </dev/null >>"$LOG" 2>&1 {LOCK}>&- &
  process=$!
  until engine_version >/dev/null; do
    if ! kill -0 "$process" 2>/dev/null || ((SECONDS > deadline)); then
      tail -n 15 "$LOG" >&2
      die "the engine did not start" "read $LOG"
    fi
    sleep 0.2
  done
}

stop() {
  need_root "engine.sh stop"
  local pid deadline=$((SECONDS + 120))
  if ! pid=$(daemon); then
    say "no engine was started from here"
    # After a crash of the engine its containerd is left over.
    ! pid=$(running containerd "$RUN/exec/containerd/containerd.pid") || kill "$pid"
    return
  fi
  # It gives the containers their own grace periods first.
  kill "$pid"
  while [[ "$(daemon)" == "$pid" ]]; do
    ((SECONDS < deadline)) || die "the engine (process $pid) has not stopped after 120 s" "kill -9 $pid"
    sleep 0.2
  done
  say "engine stopped"
}

remove() {
  need_root "engine.sh remove"
  private || ! packaged || say "the packaged engine is your package manager's: apt-get remove docker.io"
  stop
  local link
  for link in "$PLUGINS"/docker-* /usr/local/bin/docker; do
    [[ "$(readlink "$link" || true)" != "$PREFIX"/* ]] || rm -f "$link"
  done
  rm -rf "$PREFIX" "$PREFIX.partial"
  discard "$RUN"
  if [[ "${1:-}" == --data ]]; then
    discard "$DATA"
    say "removed $PREFIX, and all images, volumes and containers in $DATA"
  else
    say "removed $PREFIX; images and volumes stay in $DATA (delete them with: engine.sh remove --data)"
  fi
}

case "$*" in
  status) status ;;
  install | start | stop | remove | "remove --data")
    [[ $EUID -ne 0 ]] || one_at_a_time "/run/lock/netmon-engine"
    "$@"
    ;;
  --help) usage ;;
  *) wrong_usage "unknown command '$*'" ;;
esac
