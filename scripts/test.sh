#!/usr/bin/env bash
# Prepare this machine as quickstart.sh does (engine, Python environment, images), and with a browser, then run the
# tests. Made for CI as well: it asks nothing, so where no Docker Engine answers it installs one, and it stops the one
# that it started. The exit code is that of the first failure.
#
# usage: test.sh [SESSION…]
#
#   SESSION   of nox: lint, validate, tests, live; all of them, in this order, where none is named
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"
root=$(dirname "$here")
cd "$root"
# shellcheck source=scripts/phases.sh
source "$here/phases.sh"
trap 'printf "\ninterrupted\n" >&2; exit 130' INT
exec </dev/null

# Nobody is asked, as the header says.
consent() { :; }

stop_engine() { "$here/engine.sh" stop; }

SESSIONS=(lint validate tests live)

main() {
  local session
  for session in "$@"; do
    [[ "$session" != --help ]] || { usage && exit; }
    [[ " ${SESSIONS[*]} " == *" $session "* ]] || wrong_usage "unknown session $session"
  done
  (($# == 0)) || SESSIONS=("$@")
  phase "preflight" "looks, changes nothing"
  check_system
  check_engine
  check_python
  check_browser
  conclude_preflight
  "$here/engine.sh" status >/dev/null 2>&1 || trap stop_engine EXIT
  engine
  python_environment
  browser
  phase "set-up" ".env and secrets/ in this folder; what you wrote there stays"
  .venv/bin/invoke setup
  phase "images" "Docker's images, of the groups that are off as well"
  .venv/bin/invoke images.prepare --every-group
  .venv/bin/invoke images.prepare --every-group --profile=prod
  phase "tests" "nox, session by session; the stacks they start are their own"
  for session in "${SESSIONS[@]}"; do
    case $session in
      # What the images in use do not have is not validated here and named; anything else that is skipped is a failure.
      validate) .venv/bin/nox -s validate -- --allow-skips absent ;;
      *) .venv/bin/nox -s "$session" ;;
    esac
  done
}

main "$@"
