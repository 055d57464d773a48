# shellcheck shell=sh
# Sourced by the entry and health scripts.
# credential NAME prints the value of $NAME, else the content of the file that $NAME_FILE names; it fails on an empty
# one. What it prints belongs on a standard input: arguments and environment of a process can be read by others.
credential() {
  credential_value=$(printenv "$1" || cat "$(printenv "$1_FILE")") || :
  if [ -z "$credential_value" ]; then
    echo "error: $1 is empty; run \"invoke setup\" and check the files in secrets/" >&2
    return 78
  fi
  printf '%s' "$credential_value"
}
