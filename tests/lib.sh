# shellcheck shell=bash
# Shell functions that tests/run.sh and examples/quickstart.sh share. Source it under
# `set -euo pipefail`. A script calls, in this order, what it needs of:
#
#     ensure_packages COMMAND[:PACKAGE]…   install what is missing, on Debian and as root
#     ensure_venv [EXTRA]                  a virtualenv with this project; its bin is in PATH
#     ensure_engine                        an engine that answers; see there
#     make_base_image NAME                 a small image, without any registry
#     at_exit COMMAND…                     run at the script's end, also when it's interrupted
#
# Functions print to stderr and return non-zero, or end the script, with what to do.

TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SCRIPT=$(realpath "$0")
PATH_BEFORE=$PATH
PATH=$PATH:/usr/sbin:/sbin
exit_commands=()

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# at_exit COMMAND ARGUMENT…: the last one given runs first.
at_exit() {
    exit_commands=("$(printf '%q ' "$@")" "${exit_commands[@]}")
    trap run_exit_commands EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

run_exit_commands() {
    local command
    trap '' INT TERM HUP
    for command in "${exit_commands[@]}"; do eval "$command" || say "at the end: $command failed"; done
}

# ensure_packages COMMAND[:PACKAGE]…: PACKAGE is installed when COMMAND is missing.
# Services that a package brings aren't started.
ensure_packages() {
    local pair missing=()
    for pair in "$@"; do
        if ! command -v "${pair%%:*}" >/dev/null; then missing+=("${pair##*:}"); fi
    done
    if [ ${#missing[@]} = 0 ]; then return; fi
    is_root || fail "Missing: ${missing[*]}. Install them, or run this as root."
    command -v apt-get >/dev/null || fail "Missing: ${missing[*]}. Install what has these names on this system."
    say "installing ${missing[*]}"
    install_packages "${missing[@]}"
}

install_packages() (
    export DEBIAN_FRONTEND=noninteractive
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        trap 'rm -f $policy' EXIT
    fi
    options=(-qq -o DPkg::Lock::Timeout=300)
    {
        apt-get "${options[@]}" update
        apt-get "${options[@]}" install -y --no-install-recommends "$@"
    } >/dev/null || fail "apt-get couldn't install $*"
)

# ensure_venv [EXTRA]: a virtualenv with this tree installed, editable, at the versions of
# constraints.txt. It's kept for the next run, until the versions or the tree's place change.
ensure_venv() {
    if [ -x "${RECONCILER_VENV:-}/bin/reconcile" ]; then # tests/run.sh has made one already
        PATH=$RECONCILER_VENV/bin:$PATH
        return
    fi
    local python=${PYTHON:-python3} cache=${XDG_CACHE_HOME:-$HOME/.cache}/reconciler-venvs key
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or later is needed."
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    key=$({
        printf '%s\n' "$TREE" "${1:-}"
        "$python" -c 'import sys; print(sys.executable, sys.version)'
        cat "$TREE/pyproject.toml" "$TREE/constraints.txt"
    } | sha256sum | cut -c 1-16)
    mkdir -p "$cache"
    VENV=$cache/$key
    (
        flock 9
        if [ ! -e "$VENV/ready" ]; then make_venv "$python" "${1:-}"; fi
        touch "$VENV/ready"
        find "$cache" -mindepth 2 -maxdepth 2 -name ready -mtime +14 -printf '%h\0' | xargs -0r rm -rf --
    ) 9>"$cache/lock"
    PATH=$VENV/bin:$PATH
}

make_venv() {
    say "making a virtualenv in $VENV"
    rm -rf "$VENV"
    "$1" -m venv "$VENV"
    mkdir "$VENV/tmp" # pip, when killed, leaves its files
    TMPDIR=$VENV/tmp "$VENV/bin/pip" install -qq --disable-pip-version-check \
        --constraint "$TREE/constraints.txt" --config-settings editable_mode=compat \
        --editable "$TREE${2:+[$2]}" || fail "pip couldn't install this project."
    rm -rf "$VENV/tmp"
}

# engine_answers: whether the engine of DOCKER_HOST, or else of docker's context, does.
engine_answers() {
    local host
    host=$(docker version --format '{{.Server.Version}}' >/dev/null 2>&1 &&
        docker context inspect --format '{{.Endpoints.docker.Host}}') || return 1
    export DOCKER_HOST=${DOCKER_HOST:-$host}
}

owns_engine() { [ "$(cut -d ' ' -f 1 "${OWN_ENGINE:-/}/owner" 2>/dev/null)" = $$ ]; }

private_engine() { env PYTHONPATH="$TREE" python3 -m tests.support.engine "$@"; }

# ensure_engine "$@": use the engine of DOCKER_HOST, or this machine's, when it answers. Else, as
# root, start one in a network namespace of its own that ends with this script. As published
# ports are reachable from within only, the script starts once more in there, with the arguments
# given here. There is no network in there: fetch what you need before.
ensure_engine() {
    if owns_engine; then return; fi
    ensure_packages docker:docker.io
    if engine_answers; then return; fi
    is_root || fail "No Docker engine answers. Start one, or run this as root to have a private one meanwhile."
    ensure_packages dockerd:docker.io iptables ip:iproute2 nsenter:util-linux
    say "no Docker engine answers: starting a private one"
    private_engine reap
    OWN_ENGINE=$(private_engine start $$) || fail "The private engine didn't start."
    export OWN_ENGINE DOCKER_HOST=unix://$OWN_ENGINE/docker.sock
    exec nsenter --net="$OWN_ENGINE/net" -- env PATH="$PATH_BEFORE" "$BASH" "$SCRIPT" "$@"
}

# make_base_image NAME: busybox with its applets as an image, without any registry.
# Does nothing when the engine has NAME already. Needs the package busybox-static.
make_base_image() (
    docker=${DOCKER:-docker}
    busybox=$(command -v busybox) || fail "Missing: busybox-static."
    if ldd "$busybox" >/dev/null 2>&1; then fail "$busybox needs libraries: install busybox-static instead."; fi
    if "$docker" image inspect "$1" >/dev/null 2>&1; then return; fi
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    mkdir -p "$root"/{bin,dev,etc,home,proc,root,sys,tmp,usr/bin,var/www}
    chmod 755 "$root"
    chmod 1777 "$root/tmp"
    cp "$busybox" "$root/bin/busybox"
    "$root/bin/busybox" --install "$root/bin"
    printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/home:/bin/false >"$root/etc/passwd"
    printf '%s\n' root:x:0: nogroup:x:65534: >"$root/etc/group"
    tar -C "$root" --owner=0 --group=0 -c . | "$docker" import \
        --change 'ENV PATH=/usr/bin:/bin' --change 'CMD ["sh"]' - "$1" >/dev/null
)

if owns_engine; then at_exit private_engine remove "$OWN_ENGINE"; fi
