#!/usr/bin/env bash
# Make a minimal Debian testing root file system once, and keep it: the source of the engine's packages on
# Debian 12 (engine.sh) and of the base image of the locally built set (base-image.sh).
#
# usage: debian-root.sh        prints the folder on the last line
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

# The release after Debian 13. Older ones have no engine 28 and no PostgreSQL 18; debootstrap knows it as a copy of trixie.
SUITE=forky
ROOT=${NETMON_DEBIAN_ROOT:-/var/cache/netmon/debian-$SUITE}

# The mirror is the machine's own, so that a company mirror or a proxy is used without being configured twice.
mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
}

main() {
  if [[ -f "$ROOT/.complete" ]]; then
    echo "$ROOT"
    return
  fi
  need_root "debian-root.sh"
  [[ -r /etc/debian_version ]] || die "a Debian root can be made on Debian or Ubuntu only" \
    "install Docker Engine 25 or newer from your distribution, and use the published images"

  local packages=()
  command -v debootstrap >/dev/null || packages+=(debootstrap)
  [[ -f /usr/share/keyrings/debian-archive-keyring.gpg ]] || packages+=(debian-archive-keyring)
  [[ -n "$(mirror)" ]] || quietly "apt-get update" apt-get update
  if ((${#packages[@]})); then
    quietly "apt-get update" apt-get update
    quietly "apt-get install ${packages[*]}" apt-get install -y --no-install-recommends "${packages[@]}"
  fi

  local mirror_uri partial="$ROOT.partial"
  mirror_uri=$(mirror)
  [[ -n "$mirror_uri" ]] || die "apt knows no Debian mirror" "check /etc/apt/sources.list.d and run apt-get update"
  rm -rf "$partial"
  mkdir -p "$(dirname "$ROOT")"
  quietly "debootstrap $SUITE" debootstrap --variant=minbase "$SUITE" "$partial" "$mirror_uri" \
    /usr/share/debootstrap/scripts/trixie
  # A mirror of a testing release may be past its Valid-Until; its signatures are still checked.
  echo 'Acquire::Check-Valid-Until "false";' >"$partial/etc/apt/apt.conf.d/90netmon-valid-until"
  rm -f "$partial"/var/cache/apt/archives/*.deb
  touch "$partial/.complete"
  rm -rf "$ROOT"
  mv "$partial" "$ROOT"
  echo "$ROOT"
}

main
