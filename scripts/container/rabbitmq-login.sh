#!/usr/bin/env bash
# usage: rabbitmq-login.sh USER, the password on standard input: succeeds if the broker lets the user in over AMQP.
# Spoken over bash's own TCP: rabbitmqctl starts an Erlang machine for it, which cannot read a pipe in every version.
set -euo pipefail
user=$1
IFS= read -r password

# bytes COUNT: as hexadecimal digits, not one more than that is taken from the connection.
bytes() { timeout 5 dd bs=1 count="$1" status=none <&3 2>/dev/null | od -An -v -tx1 | tr -d ' \n'; }
# number VALUE: four bytes, as the escapes of printf.
number() { printf '%08x' "$1" | sed 's/../\\x&/g'; }

exec 3<>"/dev/tcp/$(hostname)/5672"
printf 'AMQP\x00\x00\x09\x01' >&3
# Connection.Start: a header with the size, what the broker is, the end of the frame.
start=$(bytes 7)
bytes $((16#${start:6:8} + 1)) >/dev/null
# Connection.StartOk: no properties, the mechanism PLAIN, its response, a language.
response=$((2 + ${#user} + ${#password}))
printf %b "\x01\x00\x00$(number $((24 + response)))\x00\x0a\x00\x0b$(number 0)\x05PLAIN$(number $response)" >&3
printf '\x00%s\x00%s\x05en_US\xce' "$user" "$password" >&3
# Connection.Tune follows for whoever was let in; else the broker closes the connection.
answer=$(bytes 11)
[[ ${answer:14} == 000a001e ]] || { echo 'the broker refuses the login'; exit 1; }
