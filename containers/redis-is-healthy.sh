#!/bin/sh
# Whether Valkey answers to its password.
set -eu
REDISCLI_AUTH=${REDIS_PASSWORD:-$(cat "${REDIS_PASSWORD_FILE:-/dev/null}")}
export REDISCLI_AUTH
valkey-cli "$@" ping | grep -qx PONG
