#!/usr/bin/env bash
# Prepare this machine like quickstart.sh (engine, Python environment, images), with a browser, and run the tests. For
# CI too: never prompts, installs a Docker Engine if none is running, and stops an engine that it has started. The exit
# code is that of the first failure.
#
# usage: test.sh [SESSION…]
#
#   SESSION   of Nox: lint, validate, tests, live or drills; default: the first four, in this order
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

# Changes need no confirmation here.
confirm() { :; }

stop_engine() { "$here/engine.sh" stop; }

SESSIONS=(lint validate tests live)

main() {
  local session
  for session in "$@"; do
    [[ "$session" != --help ]] || { usage && exit; }
    [[ " ${SESSIONS[*]} drills " == *" $session "* ]] || wrong_usage "unknown session $session"
  done
  (($# == 0)) || SESSIONS=("$@")
  phase "preflight" "changes nothing"
  check_system
  check_engine
  check_python
  check_browser
  conclude_preflight
  "$here/engine.sh" status >/dev/null 2>&1 || trap stop_engine EXIT
  engine
  python_environment
  browser
  phase "setup" ".env and secrets/ in this folder; existing values are kept"
  .venv/bin/invoke setup
  phase "images" "of both profiles and all groups"
  .venv/bin/invoke images.prepare --every-group
  .venv/bin/invoke images.prepare --every-group --profile=prod
  phase "tests" "Nox sessions; live tests start stacks of their own"
  for session in "${SESSIONS[@]}"; do
    case $session in
      # Validators that the images in use lack are skipped, each by name; any other skip is a failure.
      validate) .venv/bin/nox -s validate -- --allow-skips absent ;;
      *) .venv/bin/nox -s "$session" ;;
    esac
  done
}

main "$@"
