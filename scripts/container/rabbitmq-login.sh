#!/usr/bin/env bash
# usage: rabbitmq-login.sh USER, with the password on standard input: succeeds if the user can log in over AMQP.
# Uses bash's /dev/tcp: rabbitmqctl starts an Erlang VM, which cannot read a pipe in every version.
set -euo pipefail
user=$1
IFS= read -r password

# bytes COUNT: read exactly that many bytes and print them as hexadecimal digits.
bytes() { timeout 5 dd bs=1 count="$1" status=none <&3 2>/dev/null | od -An -v -tx1 | tr -d ' \n'; }
# number VALUE: four bytes, as escapes of printf.
number() { printf '%08x' "$1" | sed 's/../\\x&/g'; }

exec 3<>"/dev/tcp/$(hostname)/5672"
printf 'AMQP\x00\x00\x09\x01' >&3
# Connection.Start: a header with the size, the broker's properties, the end of the frame.
start=$(bytes 7)
bytes $((16#${start:6:8} + 1)) >/dev/null
# Connection.StartOk: no properties, the mechanism PLAIN, its response, a language.
response=$((2 + ${#user} + ${#password}))
printf %b "\x01\x00\x00$(number $((24 + response)))\x00\x0a\x00\x0b$(number 0)\x05PLAIN$(number $response)" >&3
printf '\x00%s\x00%s\x05en_US\xce' "$user" "$password" >&3
# Connection.Tune follows a successful login; otherwise the broker closes the connection.
answer=$(bytes 11)
[[ ${answer:14} == 000a001e ]] || { echo 'the broker refuses the login'; exit 1; }
