#!/usr/bin/env bash
# Prepare this machine as quickstart.sh does (engine, Python environment, images), and with a browser, then run the
# tests: nox with its default sessions. Made for CI as well: it asks nothing, so where no Docker Engine answers it
# installs one, and it stops the one that it started. The exit code is that of the first failure.
#
# usage: test.sh
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

main() {
  [[ "${1:-}" != --help ]] || { usage && exit; }
  [[ $# -eq 0 ]] || wrong_usage "unknown argument $1"
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
  phase "images" "Docker's images"
  .venv/bin/invoke images.prepare
  .venv/bin/invoke images.prepare --profile=prod
  phase "tests" "nox with its default sessions; the stack they start is one of their own"
  .venv/bin/nox -s lint
  # What the local images lack is not validated here, and said so; anything else that is skipped is a failure.
  local absent=()
  ! grep -qx 'NETMON_IMAGES=local' .env || absent=(-- --allow-skips "loki,tempo")
  .venv/bin/nox -s validate "${absent[@]}"
  .venv/bin/nox -s tests live
}

main "$@"
