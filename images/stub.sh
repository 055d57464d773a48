#!/bin/sh
# Replaces a program while the contract of its image is checked: prints the command line.
echo "started: ${0##*/} $*"
export -p
