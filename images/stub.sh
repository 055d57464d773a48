#!/bin/sh
# Stands in the place of a program while the contract of its image is checked: prints what it was started with.
echo "started: ${0##*/} $*"
export -p
