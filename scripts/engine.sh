#!/usr/bin/env bash
# Install, start and stop a Docker Engine on development and CI machines that have none. Not for production: there,
# install the engine of your distribution or of Docker, managed by the init system.
#
# usage: engine.sh install | start | stop | status | remove [--data [--yes]]
#
#   install   Debian 13 and later, Ubuntu: the packaged engine, if it is new enough.
#             Debian 12: engine, Compose and Buildx from Debian testing's packages, under a prefix of their own.
#   start     start the installed engine and wait until it answers
#   stop      stop the engine that this script has started, and its containers
#   status    print the running engine; exit code 1 if none is running, 3 if it cannot be used
#   remove    stop the engine and delete the prefix; with --data images and volumes too, after confirmation, which
#             --yes gives
#
#   NETMON_ENGINE_PREFIX   the programs (/opt/netmon-engine)
#   NETMON_ENGINE_DATA     images, volumes and containers (/var/lib/netmon-engine)
#   NETMON_ENGINE_RUN      process id and sockets of a running engine (/run/netmon-engine)
#   DOCKER_HOST            the engine's socket, a unix:// address (unix:///var/run/docker.sock)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

PREFIX=${NETMON_ENGINE_PREFIX:-/opt/netmon-engine}
DATA=${NETMON_ENGINE_DATA:-/var/lib/netmon-engine}
RUN=${NETMON_ENGINE_RUN:-/run/netmon-engine}
HOST=${DOCKER_HOST:-unix:///var/run/docker.sock}
LOG=$DATA/engine.log
# Docker's system-wide plugin folder; plugins in an account's ~/.docker take precedence.
PLUGINS=/usr/local/lib/docker/cli-plugins
LIB=$PREFIX/usr/lib/x86_64-linux-gnu
# Engine 25 brought start_interval; Compose 2.24 !reset, !override and depends_on.required.
MIN_ENGINE=25
MIN_COMPOSE=2.24
NEEDED="Docker Engine ≥ $MIN_ENGINE and Compose ≥ $MIN_COMPOSE are needed"

engine_version() { timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null; }
compose_version() { timeout 10 docker compose version --short 2>/dev/null; }

# running NAME PIDFILE: print the process id if that process runs the program NAME (after a reboot the id may belong to
# another process, and a zombie keeps its id, but no program).
running() {
  local pid
  [[ -s "$2" ]] && pid=$(<"$2") && [[ "$(readlink "/proc/$pid/exe" || true)" == */"$1"* ]] && echo "$pid"
}
daemon() { running dockerd "$RUN/docker.pid"; }

# Where systemd runs, it manages the packaged engine; elsewhere (a container, a minimal machine) this script starts it.
private() { [[ -x $PREFIX/usr/sbin/dockerd ]]; }
packaged() { version_at_least "$(dockerd --version 2>/dev/null | awk '{ print $3 }')" "$MIN_ENGINE"; }
managed_by_systemd() { ! private && packaged && [[ -d /run/systemd/system ]]; }

status() {
  local engine compose
  if engine=$(engine_version); then
    compose=$(compose_version) || compose=
    info "Docker Engine $engine, Compose ${compose:-missing}"
    ! daemon >/dev/null || info "started by scripts/engine.sh, log: $LOG"
    version_at_least "$engine" "$MIN_ENGINE" ||
      unusable "Docker Engine ≥ $MIN_ENGINE is needed" "upgrade it, or stop it and run scripts/engine.sh install"
    version_at_least "${compose#v}" "$MIN_COMPOSE" ||
      unusable "Compose ≥ $MIN_COMPOSE is needed" "install the package docker-compose-plugin or docker-compose-v2"
  elif [[ "$HOST" == unix://* && -S ${HOST#unix://} && ! -w ${HOST#unix://} ]]; then
    unusable "account $(id -un) cannot access ${HOST#unix://}" "sudo usermod -aG docker $(id -un), then log in again"
  elif [[ "$HOST" != unix://* ]]; then
    unusable "no engine answers at DOCKER_HOST=$HOST" "start the engine, or unset DOCKER_HOST"
  else
    info "no Docker Engine answers"
    case "$(method)" in
      installed) info "scripts/engine.sh start would start the installed one" ;;
      packaged) info "scripts/engine.sh install would install the distribution's packages: docker.io, Compose, Buildx" ;;
      prefix) info "scripts/engine.sh install would put one under $PREFIX, its images and volumes under $DATA," \
        "and install the packages debootstrap, iptables and patchelf" ;;
      *) unusable "scripts/engine.sh does not support this system" "install Docker yourself: $NEEDED" ;;
    esac
    return 1
  fi
}

# Print how this machine gets an engine: installed (start only), packaged, prefix or none.
method() {
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

# Exit code 3: this script cannot provide a usable engine.
unusable() { (die "$@") || exit 3; }

# The engine packages of Debian testing on an older Debian, with their own C library, which patchelf sets for every
# program. (runc re-executes itself, so it cannot be started through ld.so.)
install_prefix() {
  local root partial="$PREFIX.partial" deb program
  apt_install patchelf iptables ca-certificates
  root=$("$here/debian-root.sh")
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  quietly "package lists of Debian testing" chroot "$root" apt-get update
  # Packages are downloaded, not installed: the root file system is the source of the base image too.
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
    die "the packaged engine is ${candidate:-missing}, ≥ $MIN_ENGINE is needed" \
      "follow https://docs.docker.com/engine/install/"
  # Debian packages the client separately; on Ubuntu Compose 2 is docker-compose-v2.
  [[ -z "$(candidate_of docker-cli)" ]] || packages+=(docker-cli)
  if [[ -n "$(candidate_of docker-compose-v2)" ]]; then
    packages+=(docker-compose-v2)
  else
    packages+=(docker-compose)
  fi
  apt_install "${packages[@]}"
}

candidate_of() { apt-cache policy "$1" | sed -n 's/^ *Candidate: \([0-9][^+~-]*\).*/\1/p'; }

# Link the client and its plugins into the system's folders. Existing files are kept.
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
    info "a recent enough engine is running: nothing to install"
    return
  fi
  ! engine_version >/dev/null || status
  case "$(method)" in
    installed) info "already installed" ;;
    packaged) install_packaged ;;
    prefix) install_prefix ;;
    *) die "scripts/engine.sh does not support this system" "install Docker yourself: $NEEDED" ;;
  esac
  ! private || link_client
}

# Print a folder with the legacy iptables for PATH, if the kernel lacks nf_tables, which the system's iptables needs.
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
  if managed_by_systemd; then
    systemctl start docker
  else
    private || packaged || die "no engine is installed" "run scripts/engine.sh install"
    [[ "$HOST" == unix://* ]] || status
    launch
  fi
  status
}

# Start the engine and wait until it answers or exits.
launch() {
  local path=$PATH process deadline=$((SECONDS + 60))
  if private; then
    link_client
    # The engine starts containerd, its shim, runc and docker-proxy by name.
    path=$PREFIX/usr/sbin:$PREFIX/usr/bin:$PATH
  fi
  mkdir -p "$RUN" "$DATA"
  path=$(legacy_iptables)$path
  # dockerd refuses to start if the id in a stale file belongs to any process.
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
    info "no engine of scripts/engine.sh is running"
    # A crashed engine leaves its containerd running.
    ! pid=$(running containerd "$RUN/exec/containerd/containerd.pid") || kill "$pid"
    return
  fi
  # dockerd stops the containers first, within their grace periods.
  kill "$pid"
  while [[ "$(daemon)" == "$pid" ]]; do
    ((SECONDS < deadline)) || die "the engine (process $pid) has not stopped after 120 s" "kill -9 $pid"
    sleep 0.2
  done
  info "engine stopped"
}

# Ask before images and volumes are deleted: with them go the databases of every project on the engine.
confirm_data() {
  local answer volumes
  volumes=$(find "$DATA/volumes" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | wc -l)
  info "this deletes $DATA: every image, container and volume of the engine ($volumes volumes)"
  [[ "${1:-}" != --yes ]] || return 0
  [[ -t 0 && -t 1 ]] || die "this requires confirmation, and there is no terminal" "engine.sh remove --data --yes"
  read -r -p "  Delete all of it? [y/N] " answer
  [[ "$answer" == [yY]* ]] || die "cancelled, nothing was changed"
}

remove() {
  need_root "engine.sh remove"
  [[ "${1:-}" != --data ]] || confirm_data "${2:-}"
  private || ! packaged || info "the packaged engine is managed by apt: apt-get remove docker.io"
  stop
  local link
  for link in "$PLUGINS"/docker-* /usr/local/bin/docker; do
    [[ "$(readlink "$link" || true)" != "$PREFIX"/* ]] || rm -f "$link"
  done
  rm -rf "$PREFIX" "$PREFIX.partial"
  discard "$RUN"
  if [[ "${1:-}" == --data ]]; then
    discard "$DATA"
    info "removed $PREFIX, and all images, volumes and containers in $DATA"
  else
    info "removed $PREFIX; images and volumes are kept in $DATA (delete them with: engine.sh remove --data)"
  fi
}

case "$*" in
  status) status ;;
  install | start | stop | remove | "remove --data" | "remove --data --yes")
    [[ $EUID -ne 0 ]] || acquire_lock "/run/lock/netmon-engine"
    "$@"
    ;;
  --help) usage ;;
  *) wrong_usage "unknown command '$*'" ;;
esac
