#!/bin/sh
# Prints the Python that the Makefile builds .venv with: 3.11 or newer, and able to make environments.
# $PYTHON, where set, is the only one that is tried.

can_build='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

for python in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
    if "$python" -c "$can_build" 2>/dev/null; then
        echo "$python"
        exit 0
    fi
done

{
    echo "No Python that can build the environment was found (tried: ${PYTHON:-python3.13 python3.12 python3.11 python3})."
    echo "It takes Python 3.11 or newer with its venv module, which Debian and Ubuntu keep in a package of"
    echo "its own: apt-get install python3 python3-venv. Another Python is named with: make PYTHON=/path/to/python"
} >&2
exit 1
