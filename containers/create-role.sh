#!/bin/sh
# Run once by PostgreSQL's image, when the database is made: the service's own role, which is no superuser, owns its
# database and nothing else. The password comes from DATABASE_PASSWORD, or from the file DATABASE_PASSWORD_FILE names.
set -eu

if [ -z "${DATABASE_PASSWORD:-}" ]; then
    DATABASE_PASSWORD=$(cat "${DATABASE_PASSWORD_FILE:?Set DATABASE_PASSWORD or DATABASE_PASSWORD_FILE}")
fi
export DATABASE_PASSWORD DATABASE_USER="${DATABASE_USER:-ghlapp}"

# Passwords stay out of the command line, which others of the machine can read.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "${POSTGRES_DB:-postgres}" <<'SQL'
\getenv role DATABASE_USER
\getenv password DATABASE_PASSWORD
CREATE ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role";
REVOKE CONNECT ON DATABASE :"role" FROM PUBLIC;
SQL
