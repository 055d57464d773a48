# Shell functions shared by the scripts of this folder. Sourced, never run.
# shellcheck shell=bash

# In older versions an empty array is an error under `set -u`.
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  echo "error: bash $BASH_VERSION is too old, 4.4 or newer is needed" >&2
  exit 1
fi
# The folders of debootstrap, iptables and chroot, which `su` without a dash leaves out.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
# The message is printed by the calling script.
trap 'exit 130' INT

# Colour on a terminal only, and unless NO_COLOR is set.
if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then
  BOLD=$'\e[1m' RED=$'\e[31m' YELLOW=$'\e[33m' DIM=$'\e[2m' RESET=$'\e[0m'
else
  BOLD='' RED='' YELLOW='' DIM='' RESET=''
fi

phase() { printf '\n%s▶ %s%s  %s%s%s\n' "$BOLD" "$1" "$RESET" "$DIM" "$2" "$RESET"; }
info() { printf '  %s\n' "$*"; }
warn() { printf '  %swarning:%s %s\n' "$YELLOW" "$RESET" "$*"; }

# die MESSAGE FIX: print the error and how to fix it. Exit code 1.
die() {
  printf '%serror:%s %s\n' "$RED" "$RESET" "$1" >&2
  [[ -z "${2:-}" ]] || printf '  fix: %s\n' "$2" >&2
  exit 1
}

# Print the script's header comment.
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }

# wrong_usage MESSAGE. Exit code 2.
wrong_usage() {
  printf '%serror:%s %s\n  fix: see %s --help\n' "$RED" "$RESET" "$1" "$0" >&2
  exit 2
}

# quietly LABEL COMMAND...: run COMMAND with its output in a log; on failure, print the last lines.
quietly() {
  local label=$1 log started=$SECONDS
  shift
  log=$(mktemp)
  printf '  %s … ' "$label"
  if "$@" >"$log" 2>&1 </dev/null; then
    printf 'done (%d s)\n' $((SECONDS - started))
    rm -f "$log"
  else
    local rc=$?
    printf 'failed\n'
    tail -n 20 "$log" >&2
    die "$label failed with exit code $rc" "see the full output in $log"
  fi
}

# apt_install PACKAGE...: install missing packages, with fresh package lists; installed ones are not upgraded.
apt_install() {
  local installed
  installed=$(dpkg-query --show --showformat '${db:Status-Status}\n' "$@" 2>/dev/null | grep -cx installed) || true
  ((installed < $#)) || return 0
  quietly "apt-get update" apt-get update
  quietly "apt-get install $*" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-upgrade --no-install-recommends "$@"
}

# acquire_lock FILE: wait for the lock, and hold it until this script exits.
acquire_lock() {
  mkdir -p "$(dirname "$1")"
  exec {LOCK}>"$1"
  flock --nonblock "$LOCK" || {
    info "another run is in progress, waiting"
    flock "$LOCK"
  }
}

# discard FOLDER: delete it recursively; file systems mounted below it are unmounted first.
discard() {
  local mounted
  while IFS= read -r mounted; do
    umount "$mounted"
  done < <(findmnt --list --noheadings --output TARGET |
    awk -v folder="$1" '$0 == folder || index($0, folder "/") == 1' | sort --reverse)
  rm -rf --one-file-system "$1"
}

need_root() { [[ $EUID -eq 0 ]] || die "$1 must run as root" "run it with sudo"; }

# version_at_least HAVE WANT: numeric dotted comparison ("28.5.2" "25"). False if HAVE is no version.
version_at_least() { [[ "$1" == [0-9]* && "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }
