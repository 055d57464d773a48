#!/bin/sh
# Installing a package must not start its service.
exit 101
