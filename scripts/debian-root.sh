#!/usr/bin/env bash
# Create a minimal Debian testing root file system, once: the source of the engine's packages on Debian 12 (engine.sh)
# and of the base image of the local image set (base-image.sh).
#
# usage: debian-root.sh        prints the folder on standard output, and progress on standard error
#
#   NETMON_DEBIAN_ROOT     the folder (/var/cache/netmon/debian-forky)
#   NETMON_DEBIAN_MIRROR   address of a Debian mirror, if apt is configured without one
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

# The release after Debian 13: older ones lack Docker Engine 28 and PostgreSQL 18.
SUITE=forky
ROOT=${NETMON_DEBIAN_ROOT:-/var/cache/netmon/debian-$SUITE}

# Print the address of a mirror: by default the one that apt is configured with.
mirror() {
  if [[ -n "${NETMON_DEBIAN_MIRROR:-}" ]]; then
    echo "$NETMON_DEBIAN_MIRROR"
  else
    # shellcheck disable=SC2016  # apt's variable, not the shell's
    apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
  fi
}

main() {
  acquire_lock "$ROOT.lock"
  if [[ -f "$ROOT/.complete" ]]; then
    echo "$ROOT" >&3
    return
  fi

  local mirror_uri partial="$ROOT.partial"
  apt_install debootstrap debian-archive-keyring
  [[ -n "$(mirror)" ]] || quietly "apt-get update" apt-get update
  mirror_uri=$(mirror)
  [[ -n "$mirror_uri" ]] || die "apt is configured without a Debian mirror" \
    "set NETMON_DEBIAN_MIRROR to the address of one"

  # A killed debootstrap leaves /proc and /sys mounted.
  discard "$partial"
  # Older releases of debootstrap have no script for this suite; trixie's works.
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
command -v apt-get >/dev/null || die "a Debian root file system can be created on Debian and Ubuntu only" \
  "use the published images (--images=pull) with an engine of your distribution"
need_root "debian-root.sh"
exec 3>&1 >&2
main
