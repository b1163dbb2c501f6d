#!/usr/bin/env bash
# Builds .venv once and leaves it alone afterwards. `make install` and every target that needs it call this.
#
# The stamp .venv/.installed is written last and names what was installed: a hash of pyproject.toml,
# constraints.txt and this file, the extra, and the folder. No stamp means that an installation was
# interrupted, and it is redone from nothing; another stamp means that something changed, and it is brought
# up to date.
#
#   PYTHON=python3.12   the interpreter to use          (default: the first of 3.11 or later found)
#   EXTRA=gpu           cpu or gpu                      (default: gpu where nvidia-smi works)
#   VENV=.venv          where to install
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${VENV:-.venv}
stamp=$venv/.installed

say() { printf 'install: %s\n' "$*"; }
fail() { printf 'install: error: %s\n' "$*" >&2; exit 1; }

# The first interpreter that is new enough and can make virtual environments.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13 python3.14 python}; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

extra=${EXTRA:-}
if [ -z "$extra" ]; then
    if nvidia-smi -L >/dev/null 2>&1; then extra=gpu; else extra=cpu; fi
fi
case $extra in cpu | gpu) ;; *) fail "EXTRA is '$extra'; give cpu or gpu" ;; esac

wanted="$(cat pyproject.toml constraints.txt tools/install.sh | sha256sum | cut -d' ' -f1) $extra $PWD"
is_current() { [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; }
if is_current; then exit 0; fi

# Two makes at once: the second waits here and then finds the work done.
if command -v flock >/dev/null; then
    exec 9>"$venv.lock"
    flock 9
    if is_current; then exit 0; fi
fi

[ "$(uname -s)" = Linux ] || fail "this is $(uname -s); ML Monster runs on Linux"
python=$(find_python) || fail "no usable Python 3.11 or later found (tried: ${PYTHON:-python3.11, python3, \
python3.12, python3.13, python3.14}); install it with its venv module (Debian, Ubuntu: apt install python3.11 \
python3.11-venv) or name it: make install PYTHON=/path/to/python3.11"
free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
needed_mb=4000
if [ "$extra" = gpu ]; then needed_mb=12000; fi
[ "$free_mb" -ge "$needed_mb" ] || fail "only $free_mb MB free here, about $needed_mb MB needed; make room first"

# Anew after an interruption (no stamp), with another extra (the two ONNX Runtimes exclude each other), and in
# a project that was moved or copied: the scripts of a virtual environment hold its absolute path.
recorded=$(cat "$stamp" 2>/dev/null || true)
if [ -e "$venv" ] && [ "${recorded#* }" != "$extra $PWD" ]; then
    [ -f "$venv/pyvenv.cfg" ] || [ -z "$(ls -A "$venv")" ] ||
        fail "'$venv' exists and is no virtual environment; move it away or set VENV"
    say "an earlier installation in $venv is incomplete or belongs elsewhere: building it anew"
    rm -rf "$venv"
fi
rm -f "$stamp"

started=$SECONDS
say "Python $("$python" -c 'import platform; print(platform.python_version())') at $python, extra '$extra', \
into $venv (a few minutes the first time)"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"

# 9>&-: a child that outlives us must not hold the lock.
pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" 9>&- ||
        fail "pip could not finish (its message stands above); is the package index reachable? run make again"
}
say "1/3 build tools"
pip install --quiet --quiet --constraint constraints.txt setuptools
say "2/3 torch"
pip install --quiet --quiet --constraint constraints.txt torch
say "3/3 Ray, ONNX Runtime, PostgreSQL and the rest"
pip install --quiet --quiet --constraint constraints.txt --no-build-isolation --editable ".[$extra,dev,bench]"

printf '%s\n' "$wanted" >"$stamp.new"
mv "$stamp.new" "$stamp"
say "done in $((SECONDS - started)) s"
