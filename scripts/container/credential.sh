# shellcheck shell=sh
# Sourced by the entry and health scripts.
# credential NAME: print the value of $NAME, else the content of the file at $NAME_FILE; an empty value is an error.
# Pass the output on standard input only: other processes can read arguments and environment variables.
credential() {
  credential_value=$(printenv "$1" || cat "$(printenv "$1_FILE")") || :
  if [ -z "$credential_value" ]; then
    echo "error: $1 is empty; run \"invoke setup\" and check the files in secrets/" >&2
    return 78
  fi
  printf '%s' "$credential_value"
}
