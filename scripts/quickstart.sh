#!/usr/bin/env bash
# Start the development profile on this machine and verify it. Can be run again at any time: existing state is kept,
# and an interrupted run is completed.
#
# usage: quickstart.sh [--profile dev|prod] [--yes] [--images auto|pull|local] [--bundle FILE]
#        quickstart.sh --upgrade [--yes] [--bundle FILE]
#
#   --profile  prod   the production profile (docs/deployment.md); requires a running engine, installs none
#   --yes      install and start a Docker Engine without confirmation, if none is running
#   --upgrade  update the Python environment, then upgrade the running stack to this checkout (docs/operations.md)
#   --images   auto   the published images, or locally built ones if no registry is reachable (default)
#              pull   the published images
#              local  images built on this machine from packages
#   --bundle   a file of `invoke bundle`: images and Python packages come from it, nothing from a network
#   --help     print this help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"
root=$(dirname "$here")
cd "$root"
# shellcheck source=scripts/phases.sh
source "$here/phases.sh"
trap 'printf "\ninterrupted; run %s again to complete the setup\n" "$0" >&2; exit 130' INT

YES=
IMAGES=auto
PROFILE=dev
UPGRADE=
BUNDLE=

parse() {
  while (($#)); do
    case "$1" in
      --yes) YES=yes ;;
      --upgrade) UPGRADE=yes ;;
      --bundle=*) BUNDLE=${1#*=} ;;
      --bundle)
        BUNDLE=${2:-}
        [[ -n "$BUNDLE" ]] || wrong_usage "--bundle takes a file"
        shift
        ;;
      --profile=*) PROFILE=${1#*=} ;;
      --profile)
        PROFILE=${2:-}
        shift
        ;;
      --images=*) IMAGES=${1#*=} ;;
      --images)
        IMAGES=${2:-}
        shift
        ;;
      --help)
        usage
        exit
        ;;
      *) wrong_usage "unknown option $1" ;;
    esac
    shift || break
  done
  [[ "$IMAGES" == auto || "$IMAGES" == pull || "$IMAGES" == local ]] ||
    wrong_usage "--images takes auto, pull or local, not '$IMAGES'"
  # Relative to the folder of the call.
  [[ -z "$BUNDLE" || "$BUNDLE" == /* ]] || BUNDLE=$OLDPWD/$BUNDLE
  [[ -z "$UPGRADE" ]] || PROFILE=$(setting NETMON_PROFILE)
  [[ -n "$PROFILE" ]] || die "nothing to upgrade: this folder is not set up" "run $0 without --upgrade"
  [[ "$PROFILE" == dev || "$PROFILE" == prod ]] || wrong_usage "--profile takes dev or prod, not '$PROFILE'"
}

confirm() {
  local answer
  [[ -z "$YES" ]] || return 0
  [[ -t 0 && -t 1 ]] || die "these changes require confirmation, and there is no terminal" "run this with --yes"
  read -r -p "  Make these changes? [y/N] " answer
  [[ "$answer" == [yY]* ]] || die "cancelled, nothing was changed" "install Docker yourself, or answer y"
}

# The ports of the stack must be unused, except by the containers of this folder.
check_ports() {
  local variable default port ours label=com.docker.compose.project.working_dir
  ours=$(docker ps --filter "label=$label=$root" --format '{{.Ports}}' 2>/dev/null) || ours=
  while read -r variable default; do
    port=$(setting "$variable")
    port=${port:-$default}
    [[ "$ours" != *":$port->"* ]] || continue
    ! (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
      problem "port $port ($variable) is taken" "stop the program that uses it, or set another port as $variable in .env"
  done < <(layers | xargs cat | sed -n 's/^ *- ".*:${\([A-Z_]*\):-\([0-9]*\)}:[0-9]*"$/\1 \2/p')
}

# The packages of the bundle, verified. `invoke images.load` verifies the rest, and that this checkout is its own.
check_bundle() {
  local folder=.netmon/bundle
  [[ -r "$BUNDLE" ]] || {
    problem "cannot read $BUNDLE" "name the file that invoke bundle has written"
    return
  }
  rm -rf "$folder" && mkdir -p "$folder"
  tar -xf "$BUNDLE" -C "$folder" SHA256SUMS packages 2>/dev/null ||
    problem "$BUNDLE is not a bundle, or it is incomplete" "copy it again"
  (cd "$folder" && grep ' packages/' SHA256SUMS | sha256sum --check --quiet --strict) >&2 ||
    problem "$BUNDLE is damaged" "copy it again"
}

# In production the init system starts the engine and the distribution updates it: the operator chooses it.
require_engine() {
  "$here/engine.sh" status ||
    problem "this requires a running Docker Engine; quickstart.sh installs none in production and from a bundle" \
      "install Docker Engine 28 or newer from your distribution or from Docker, and have systemd start it"
}

preflight() {
  phase "preflight" "changes nothing"
  check_system
  if [[ "$PROFILE" == prod || -n "$BUNDLE" ]]; then require_engine; else check_engine; fi
  check_python
  [[ -z "$BUNDLE" ]] || check_bundle
  check_ports
  [[ "$PROFILE" == prod || "$(setting NETMON_PROFILE)" != prod ]] ||
    problem "this folder is set up for production" "start it with --profile=prod, or use another clone for development"
  conclude_preflight
}

main() {
  parse "$@"
  preflight
  engine
  if [[ -n "$BUNDLE" ]]; then
    export PIP_NO_INDEX=1 PIP_FIND_LINKS=$root/.netmon/bundle/packages
  else
    usable_environment || start_pulls
  fi
  python_environment
  # From here on the task reports an interruption.
  trap 'exit 130' INT
  if [[ -n "$UPGRADE" ]]; then
    rm -rf .netmon/bundle
    exec .venv/bin/invoke upgrade ${YES:+--yes} ${BUNDLE:+--bundle="$BUNDLE"}
  fi
  if [[ -n "$BUNDLE" ]]; then
    .venv/bin/invoke images.load --bundle="$BUNDLE"
    rm -r .netmon/bundle
  fi
  .venv/bin/invoke up --profile="$PROFILE" --images="$IMAGES"
  phase "ready" "in $SECONDS s, at the addresses above"
  info "stop:  .venv/bin/invoke down     keeps the data"
  info "more:  .venv/bin/invoke --list   or activate the environment: . .venv/bin/activate"
}

main "$@"
