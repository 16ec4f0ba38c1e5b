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
times=()
declare -A begun=()
set -m # every part is a process group, which can be ended as a whole

stop() {
    local child
    trap '' INT TERM HUP
    for child in "${begun[@]}"; do kill -TERM -- "-$child" 2>/dev/null || true; done
    for child in "${begun[@]}"; do wait "$child" || true; done
    exit "$1"
}

# log_of NAME: where a part writes that runs beside others.
log_of() { printf '%s/%s.log' "$PYTEST_DEBUG_TEMPROOT" "${1// /-}"; }

# begin NAME COMMAND…: run it in the background, as a shell handles signals between commands
# only. Then `finish NAME`, which shows what it has said when it was begun with its output in
# `log_of NAME`, and remembers whether it failed.
begin() {
    timed "$@" </dev/null &
    begun[$1]=$!
}

finish() {
    local code=0
    wait "${begun[$1]}" || code=$?
    unset "begun[$1]"
    cat "$(log_of "$1")" 2>/dev/null || true
    if [ $code != 0 ]; then failed+=("$1"); fi
    times+=("$1 $(cat "$(log_of "$1").seconds") s")
}

timed() {
    local name=$1 code=0 start=$SECONDS
    trap : INT TERM HUP # it ends when its command has ended, in order
    shift
    printf '\n== %s\n' "$name"
    "$@" || code=$?
    printf '== %s: %s, %d s\n' "$name" "$([ $code = 0 ] && echo ok || echo FAILED)" $((SECONDS - start))
    echo $((SECONDS - start)) >"$(log_of "$name").seconds"
    return $code
}

# step NAME COMMAND…: one part, to its end.
step() {
    begin "$@"
    finish "$1"
}

# last NAME COMMAND…: a part whose own lines are the last ones.
last() {
    printf '\n== so far: %s\n' "$(printf '%s, ' "${times[@]}" | sed 's/, $//')"
    if [ ${#failed[@]} != 0 ]; then printf 'FAILED: %s\n' "${failed[*]}"; fi
    printf '\n== %s\n' "$1"
    "${@:2}" </dev/null &
    begun[$1]=$!
    wait $! || failed+=("$1")
    unset "begun[$1]"
}

prepare() {
    ensure_packages dockerd:docker.io docker:docker.io iptables docker-registry \
        busybox:busybox-static systemd-analyze:systemd ip:iproute2 nsenter:util-linux \
        ssh:openssh-client sshd:openssh-server openssl haproxy curl
    case " $* " in *' --long '*) ensure_packages debootstrap ;; esac
    ensure_venv dev
}

checks() {
    local code=0
    ruff format --check . || code=1
    ruff check . || code=1
    mypy -p reconciler -p tests.support -m tests.conftest || code=1
    lint-imports || code=1
    return $code
}

# It would take the machine's engine where one runs; the tests leave that alone.
quickstart() {
    local log=$PYTEST_DEBUG_TEMPROOT/quickstart.out
    DOCKER_HOST=unix://$PYTEST_DEBUG_TEMPROOT/none RECONCILER_VENV=$VENV \
        bash examples/quickstart.sh >"$log" 2>&1 || { cat "$log"; return 1; }
}

# selects MARKERS ARGUMENT…: whether pytest finds tests, or an error to report.
selects() {
    local code=0
    if [ $# = 1 ]; then return; fi
    pytest --collect-only -q -m "$@" >/dev/null 2>&1 || code=$?
    [ $code != 5 ]
}

# Named like the engines' directories, so that a later run finds what a killed one left.
PYTEST_DEBUG_TEMPROOT=${TMPDIR:-/tmp}/rt-$$-0
export PYTEST_DEBUG_TEMPROOT
mkdir -p "$PYTEST_DEBUG_TEMPROOT"
at_exit python3 -m tests.support.engine remove "$PYTEST_DEBUG_TEMPROOT"
at_exit python3 -m tests.support.engine reap
trap 'stop 130' INT
trap 'stop 143' TERM HUP

start=$SECONDS
prepare "$@"
times+=("prepare $((SECONDS - start)) s")
if [ $# = 0 ]; then begin 'quickstart' quickstart >"$(log_of quickstart)" 2>&1; fi
step 'checks' checks
if [ $# = 0 ]; then finish 'quickstart'; fi
measured='benchmark or alone'
run_tests=(pytest -n 3 --dist worksteal --durations 12 -m "not ($measured)" "$@")
if ! selects "$measured" "$@"; then
    last 'tests' "${run_tests[@]}"
else
    if selects "not ($measured)" "$@"; then step 'tests' "${run_tests[@]}"; fi
    last 'measured' pytest --durations 12 -m "$measured" "$@"
fi
[ ${#failed[@]} = 0 ]
