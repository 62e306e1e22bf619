#!/bin/sh
# Starts Valkey with the password of REDIS_PASSWORD, or of the file REDIS_PASSWORD_FILE names; arguments are Valkey's.
set -eu
umask 077

if [ -z "${REDIS_PASSWORD:-}" ]; then
    REDIS_PASSWORD=$(cat "${REDIS_PASSWORD_FILE:?Set REDIS_PASSWORD or REDIS_PASSWORD_FILE}")
fi
# Not as an argument: others of the machine can read those.
settings=${TMPDIR:-/tmp}/redis-password.conf
printf 'requirepass "%s"\n' "$(printf %s "$REDIS_PASSWORD" | sed 's/[\\"]/\\&/g')" > "$settings"
unset REDIS_PASSWORD
exec valkey-server "$settings" "$@"
