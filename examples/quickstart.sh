#!/usr/bin/env bash
# The main job in two minutes: a git repository becomes a running, verified container.
#
#     bash examples/quickstart.sh
#
# Needs Python 3.11 and git; on Debian and as root it installs the rest. Uses the Docker engine
# that answers, else starts a private one for the time being. No image registry is needed.
# Leaves nothing behind: its containers, images and files go at the end, also on Ctrl-C.
set -euo pipefail
. "$(dirname "$0")/../tests/lib.sh"

ensure_packages docker:docker.io busybox:busybox-static git
ensure_venv
ensure_engine "$@"

project=quickstart-$$
work=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export RECONCILE_FILE=$work/apps.yaml RECONCILE_STATE_DIR=$work/state

# Registered first, so that it runs last of ours: everything that carries the project's name.
clean_up() {
    local ids
    ids=$(docker ps -aq --filter "label=reconciler.project=$project")
    if [ -n "$ids" ]; then docker rm -f $ids >/dev/null; fi # shellcheck disable=SC2086
    ids=$(docker image ls -q "reconciler/$project/*")
    if [ -n "$ids" ]; then docker image rm -f $ids >/dev/null; fi # shellcheck disable=SC2086
    docker network rm "$project" >/dev/null 2>&1 || true
    if [ "${made_base:-}" ]; then docker image rm busybox:stable >/dev/null 2>&1 || true; fi
    rm -rf "$work"
}
at_exit clean_up

title() { printf '\n\033[1m── %s\033[0m\n' "$*"; }
show() {
    printf '$ %s\n' "$*"
    "$@"
}
answer() {
    printf '$ curl http://127.0.0.1:%s/\n' "$port"
    python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode(), end="")' \
        "http://127.0.0.1:$port/"
}
commit() { git -C "$work/hello" -c user.name=you -c user.email=you@example.com commit -qam "$1"; }

if ! docker image inspect busybox:stable >/dev/null 2>&1; then
    made_base=yes
    make_base_image busybox:stable
fi

title "A git repository with a Dockerfile, and an apps.yaml that names it"
cp -r "$TREE/examples/hello" "$work/hello"
git -C "$work/hello" init -q -b main
git -C "$work/hello" add .
commit "Hello"
cat >"$RECONCILE_FILE" <<YAML
version: 1
project: $project
apps:
  hello:
    source:
      git: $work/hello
    revision: main
    env:
      LOG_LEVEL: info
    ports: ["127.0.0.1:$port:8000"]
    health:
      http: {port: 8000, path: /}
      timeout: 5s
YAML
show cat "$RECONCILE_FILE"

title "What would happen, and why"
show reconcile plan

title "Make it so: clone, build, deploy, health check"
show reconcile apply
answer

title "Applying again does nothing: no cause, no action"
show reconcile apply

title "A commit is a cause"
sed -i 's/version 1/version 2/' "$work/hello/index.html"
commit "Version 2"
show reconcile plan
show reconcile apply
answer

title "A changed variable restarts from the image that is there: nothing is built"
sed -i 's/LOG_LEVEL: info/LOG_LEVEL: debug/' "$RECONCILE_FILE"
show reconcile apply

title "A broken revision: the new container fails its check, and the old one is put back"
sed -i 's/"8000", "-h"/"9000", "-h"/' "$work/hello/Dockerfile"
commit "Listen on the wrong port"
show reconcile apply || printf '(exit code %s)\n' $?
answer

title "Why it is as it is"
show reconcile explain hello
show reconcile status
show reconcile history hello

title "Done. Everything that this made is removed now."
