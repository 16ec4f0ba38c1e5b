#!/usr/bin/env bash
# All checks of this project: format, lint, types, import contracts, tests, benchmarks.
#
#     bash tests/run.sh                    everything
#     bash tests/run.sh tests/plan -k foo  arguments are pytest's
#     bash tests/run.sh --long -k soak     ten minutes of everything at random, not 25 seconds
#     bash tests/run.sh --long -k image    the daemon's image, made from packages of the internet
#
# Runs on Debian 12 as root, with Python 3.11 and git; installs the rest. Tests have Docker
# engines of their own: none has to run, and none that runs is touched. Nothing stays but the
# packages and a cached virtualenv. A step that fails doesn't keep later ones from running, and
# makes the exit code 1.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/lib.sh

is_root || fail "The tests start private Docker engines, and that needs root: sudo bash tests/run.sh
Without root: pytest -m 'not engine', in a virtualenv with pip install -c constraints.txt -e '.[dev]'"

unset PYTHONDONTWRITEBYTECODE PYTHONPATH
failed=()
child=

stop() {
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null || true
        wait "$child" || true
    fi
    exit "$1"
}

# run COMMAND…: in the background, as a shell handles signals between commands only.
run() {
    local code=0
    "$@" &
    child=$!
    wait $child || code=$?
    child=
    return $code
}

# step NAME COMMAND…: run it, say how long it took, remember whether it failed.
step() {
    local name=$1 code=0 start=$EPOCHREALTIME
    shift
    printf '\n== %s\n' "$name"
    run "$@" || code=$?
    if [ $code != 0 ]; then failed+=("$name"); fi
    awk -v a="$start" -v b="$EPOCHREALTIME" -v n="$name" -v c=$code \
        'BEGIN { printf "== %s: %s, %.1f s\n", n, c ? "FAILED" : "ok", b - a }'
}

# last NAME COMMAND…: a step whose own lines are the last ones.
last() {
    if [ ${#failed[@]} != 0 ]; then printf '\nFAILED: %s\n' "${failed[*]}"; fi
    printf '\n== %s\n' "$1"
    run "${@:2}" || failed+=("$1")
}

prepare() {
    ensure_packages dockerd:docker.io docker:docker.io iptables docker-registry \
        busybox:busybox-static systemd-analyze:systemd ip:iproute2 nsenter:util-linux ssh:openssh-client sshd:openssh-server openssl haproxy curl
    case " $* " in *' --long '*) ensure_packages debootstrap ;; esac
    ensure_venv dev
}

quickstart() {
    local log=$PYTEST_DEBUG_TEMPROOT/quickstart.log
    RECONCILER_VENV=$VENV bash examples/quickstart.sh >"$log" 2>&1 || { cat "$log"; return 1; }
}

# selects MARKERS ARGUMENT…: whether pytest finds tests, or an error to report.
selects() {
    local code=0
    pytest --collect-only -q -m "$@" >/dev/null 2>&1 || code=$?
    [ $code != 5 ]
}

# Named like the engines' directories, so that a later run finds what a killed one left.
PYTEST_DEBUG_TEMPROOT=${TMPDIR:-/tmp}/rt-$$-0
export PYTEST_DEBUG_TEMPROOT
mkdir -p "$PYTEST_DEBUG_TEMPROOT"
at_exit rm -rf "$PYTEST_DEBUG_TEMPROOT"
at_exit python3 -m tests.support.engine reap
trap 'stop 130' INT
trap 'stop 143' TERM HUP

start=$SECONDS
prepare "$@"
echo "== prepare: ok, $((SECONDS - start)) s"
step 'ruff format' ruff format --check .
step 'ruff check' ruff check .
step 'mypy' mypy -p reconciler -p tests.support -m tests.conftest
step 'lint-imports' lint-imports
if [ $# = 0 ]; then step 'quickstart' quickstart; fi
measured='benchmark or alone'
if ! selects "$measured" "$@"; then
    last 'tests' pytest -n 3 --dist worksteal -m "not ($measured)" "$@"
else
    if selects "not ($measured)" "$@"; then
        step 'tests' pytest -n 3 --dist worksteal -m "not ($measured)" "$@"
    fi
    last 'measured' pytest -m "$measured" "$@"
fi
[ ${#failed[@]} = 0 ]
