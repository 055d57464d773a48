# Shell functions shared by the scripts of this folder. Sourced, never run.
# shellcheck shell=bash

# An empty array is an error to older versions under `set -u`.
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  echo "error: bash $BASH_VERSION is too old, 4.4 or newer is needed" >&2
  exit 1
fi
# Where debootstrap, iptables and chroot are; `su` without a dash leaves these folders out.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
# A script that was called by another one leaves the message to it.
trap 'exit 130' INT

# Colour only where a person looks: a terminal, and NO_COLOR not set.
if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then
  BOLD=$'\e[1m' RED=$'\e[31m' YELLOW=$'\e[33m' DIM=$'\e[2m' RESET=$'\e[0m'
else
  BOLD='' RED='' YELLOW='' DIM='' RESET=''
fi

phase() { printf '\n%s▶ %s%s  %s%s%s\n' "$BOLD" "$1" "$RESET" "$DIM" "$2" "$RESET"; }
say() { printf '  %s\n' "$*"; }
warn() { printf '  %swarning:%s %s\n' "$YELLOW" "$RESET" "$*"; }

# die MESSAGE FIX: what is wrong, then what to do about it. Exit code 1.
die() {
  printf '%serror:%s %s\n' "$RED" "$RESET" "$1" >&2
  [[ -z "${2:-}" ]] || printf '  fix: %s\n' "$2" >&2
  exit 1
}

# The script's own header comment.
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; }

# wrong_usage MESSAGE. Exit code 2.
wrong_usage() {
  printf '%serror:%s %s\n  fix: %s --help names what there is\n' "$RED" "$RESET" "$1" "$0" >&2
  exit 2
}

# quietly LABEL COMMAND...: run COMMAND with its output kept in a log, the last lines shown only if it fails.
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
    die "$label failed with exit code $rc" "read the whole output in $log"
  fi
}

# apt_install PACKAGE...: with fresh package lists; what is installed already stays as it is.
apt_install() {
  local installed
  installed=$(dpkg-query --show --showformat '${db:Status-Status}\n' "$@" 2>/dev/null | grep -cx installed) || true
  ((installed < $#)) || return 0
  quietly "apt-get update" apt-get update
  quietly "apt-get install $*" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-upgrade --no-install-recommends "$@"
}

# one_at_a_time FILE: take turns with other runs of the same script, until this one ends.
one_at_a_time() {
  mkdir -p "$(dirname "$1")"
  exec {LOCK}>"$1"
  flock --nonblock "$LOCK" || {
    say "another run is at work, waiting for it"
    flock "$LOCK"
  }
}

# discard FOLDER: delete it and all below it, never what is mounted there.
discard() {
  local mounted
  while IFS= read -r mounted; do
    umount "$mounted"
  done < <(findmnt --list --noheadings --output TARGET |
    awk -v folder="$1" '$0 == folder || index($0, folder "/") == 1' | sort --reverse)
  rm -rf --one-file-system "$1"
}

need_root() { [[ $EUID -eq 0 ]] || die "$1 must run as root" "run it with sudo"; }

# version_at_least HAVE WANT: numeric dotted comparison ("28.5.2" "25"). What is no version is not enough.
version_at_least() { [[ "$1" == [0-9]* && "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }
