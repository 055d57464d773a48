#!/bin/sh
# Do not start services when their packages are installed.
exit 101
