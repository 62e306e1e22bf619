#!/bin/sh
# Starts PostgreSQL's image, but not without the password of the service's role: a database that was made without the
# role would never get it, since create-role.sh runs only once.
set -eu

if [ -z "${DATABASE_PASSWORD:-}" ] && [ ! -s "${DATABASE_PASSWORD_FILE:-}" ]; then
    echo "Set DATABASE_PASSWORD, or DATABASE_PASSWORD_FILE to a file that can be read here." >&2
    exit 1
fi
exec docker-entrypoint.sh "$@"
