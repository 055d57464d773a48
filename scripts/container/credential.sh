# shellcheck shell=sh
# Sourced by the entry and health scripts.
# credential NAME prints the value of $NAME, else the content of the file $NAME_FILE; it fails if that is empty. Pass
# the output through standard input only: other processes can read the arguments and the environment of a process.
credential() {
  credential_value=$(printenv "$1" || cat "$(printenv "$1_FILE")") || :
  if [ -z "$credential_value" ]; then
    echo "error: $1 is empty; run \"invoke setup\" and check the files in secrets/" >&2
    return 78
  fi
  printf '%s' "$credential_value"
}
