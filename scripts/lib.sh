# Shell functions shared by the scripts of this folder. Sourced, never run.
# shellcheck shell=bash

# Colour only where a person looks: a terminal, and NO_COLOR not set.
if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then
  BOLD=$'\e[1m' RED=$'\e[31m' DIM=$'\e[2m' RESET=$'\e[0m'
else
  BOLD='' RED='' DIM='' RESET=''
fi

phase() { printf '\n%s▶ %s%s  %s%s%s\n' "$BOLD" "$1" "$RESET" "$DIM" "$2" "$RESET"; }
say() { printf '  %s\n' "$*"; }

# die MESSAGE FIX: what is wrong, then what to do about it. Exit code 1.
die() {
  printf '%serror:%s %s\n' "$RED" "$RESET" "$1" >&2
  [[ -z "${2:-}" ]] || printf '  fix: %s\n' "$2" >&2
  exit 1
}

# quietly LABEL COMMAND...: run COMMAND with its output kept in a log, the last lines shown only if it fails.
quietly() {
  local label=$1 log started=$SECONDS
  shift
  log=$(mktemp)
  printf '  %s … ' "$label"
  if "$@" >"$log" 2>&1; then
    printf 'done (%d s)\n' $((SECONDS - started))
    rm -f "$log"
  else
    local rc=$?
    printf 'failed\n'
    tail -n 20 "$log" >&2
    die "$label failed with exit code $rc" "read the whole output in $log"
  fi
}

need_root() { [[ $EUID -eq 0 ]] || die "$1 must run as root" "run it with sudo"; }

# version_at_least HAVE WANT: numeric dotted comparison ("28.5.2" "25").
version_at_least() { [[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }
