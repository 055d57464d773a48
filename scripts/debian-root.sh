#!/usr/bin/env bash
# Make a minimal Debian testing root file system once, and keep it: the source of the engine's packages on
# Debian 12 (engine.sh) and of the base image of the locally built set (base-image.sh).
#
# usage: debian-root.sh        prints the folder (and on standard error, what it does)
#
#   NETMON_DEBIAN_ROOT     the folder (/var/cache/netmon/debian-forky)
#   NETMON_DEBIAN_MIRROR   address of a Debian mirror, where apt of this machine knows none
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

# The release after Debian 13: older ones have no engine 28 and no PostgreSQL 18.
SUITE=forky
ROOT=${NETMON_DEBIAN_ROOT:-/var/cache/netmon/debian-$SUITE}

# The machine's own mirror, so that a company's is used without being configured twice.
mirror() {
  if [[ -n "${NETMON_DEBIAN_MIRROR:-}" ]]; then
    echo "$NETMON_DEBIAN_MIRROR"
  else
    # shellcheck disable=SC2016  # apt's variable, not the shell's
    apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
  fi
}

main() {
  one_at_a_time "$ROOT.lock"
  if [[ -f "$ROOT/.complete" ]]; then
    echo "$ROOT" >&3
    return
  fi

  local mirror_uri partial="$ROOT.partial"
  apt_install debootstrap debian-archive-keyring
  [[ -n "$(mirror)" ]] || quietly "apt-get update" apt-get update
  mirror_uri=$(mirror)
  [[ -n "$mirror_uri" ]] || die "apt of this machine knows no Debian mirror" \
    "set NETMON_DEBIAN_MIRROR to the address of one"

  # A debootstrap that was killed leaves /proc and /sys mounted in it.
  discard "$partial"
  # debootstrap of older releases knows no script for this one; trixie's does the same.
  quietly "debootstrap $SUITE" debootstrap --variant=minbase "$SUITE" "$partial" "$mirror_uri" \
    /usr/share/debootstrap/scripts/trixie
  # A mirror of a testing release may be past its Valid-Until; its signatures are still checked.
  echo 'Acquire::Check-Valid-Until "false";' >"$partial/etc/apt/apt.conf.d/90netmon-valid-until"
  rm -f "$partial"/var/cache/apt/archives/*.deb
  touch "$partial/.complete"
  discard "$ROOT"
  mv "$partial" "$ROOT"
  echo "$ROOT" >&3
}

if [[ "${1:-}" == --help ]]; then
  usage
  exit
fi
[[ $# -eq 0 ]] || wrong_usage "unknown argument $1"
command -v apt-get >/dev/null || die "a Debian root can be made on Debian and Ubuntu only" \
  "use the published images (--images=pull) with an engine of your distribution"
need_root "debian-root.sh"
exec 3>&1 >&2
main
