#!/usr/bin/env bash
# Build the base images of images/: netmon-local/debian:forky, a minimal Debian testing; netmon-local/base:forky, the
# same with this machine's certificate authorities; and netmon-local/python:3.14, the base of the app's Dockerfile.
# Up-to-date images are kept.
#
# usage: base-image.sh [--force]
#
#   --force   import Debian again, after a rebuild of its root folder (debian-root.sh)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
source "$here/lib.sh"

DEBIAN=netmon-local/debian:forky
BASE=netmon-local/base:forky
PYTHON=netmon-local/python:3.14
CERTIFICATES=/etc/ssl/certs
# Images in the engine's store are visible to the engine's default builder only.
export BUILDX_BUILDER=default

# Without documentation; the folders of man pages stay, since packages register alternatives in them.
import_debian() {
  tar -c -C "$1" \
    --exclude='./.complete' --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' \
    --exclude='./var/cache/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/log/*' \
    --exclude='./usr/share/doc/*' --exclude='./usr/share/info/*' --exclude='./usr/share/lintian/*' \
    --exclude='./usr/share/locale/*' --exclude='./usr/share/man/*/*' . |
    docker import --change 'CMD ["bash"]' - "$DEBIAN"
}

main() {
  local force=${1:-} root
  [[ -z "$force" || "$force" == --force ]] || die "unknown option $force" "usage: base-image.sh [--force]"
  docker buildx version >/dev/null 2>&1 || die "BuildKit is required to build the images" "install Docker's buildx plugin"
  [[ -f $CERTIFICATES/ca-certificates.crt ]] || die "this machine has no $CERTIFICATES/ca-certificates.crt" \
    "install the package ca-certificates"

  if [[ "$force" == --force ]] || ! docker image inspect "$DEBIAN" >/dev/null 2>&1; then
    root=$("$here/debian-root.sh")
    quietly "import $DEBIAN" import_debian "$root"
  fi
  quietly "build $BASE" docker build --tag "$BASE" --build-context certificates="$CERTIFICATES" "$here/../images/base"
  quietly "build $PYTHON" docker build --tag "$PYTHON" "$here/../images/python"
}

main "$@"
