#!/usr/bin/env bash
# One apps.yaml goes from one host to two, and on to a Swarm of three nodes.
#
#     bash examples/hosts/run.sh ssh://deploy@web1 ssh://deploy@web2 registry.example.com/shop
#
# The first host builds, and is a manager of the Swarm; both have the base image busybox:stable or
# can pull it. The registry is one that the hosts and the nodes of the Swarm reach. At the end the
# app is removed from all of them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -ne 3 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi
web1=$1 web2=$2 registry=$3

work=$(mktemp -d)
export RECONCILE_FILE=$work/apps.yaml RECONCILE_STATE_DIR=${RECONCILE_STATE_DIR:-$work/state}
trap 'rm -rf "$work"' EXIT
cp -r "$here/page" "$work/page"

title() { printf '\n── %s\n' "$*"; }
show() {
    printf '$ %s\n' "$*"
    "$@"
}
# The same file again, as the next step has it.
become() {
    sed -e "s|ssh://deploy@web1.example.com|$web1|; s|ssh://deploy@web2.example.com|$web2|" \
        -e "s|registry.example.com/shop|$registry|; s|^project: .*|project: ${PROJECT:-shop}|" \
        "$here/$1" >"$work/apps.yaml.new"
    mv "$work/apps.yaml.new" "$RECONCILE_FILE"
}

for step in 1-one-host 2-two-hosts 3-swarm; do
    title "$step"
    become $step.yaml
    show reconcile plan
    show reconcile apply
    show reconcile status
    [ $step != 2-two-hosts ] || show reconcile logs page --container --host web2
done

title "What the tasks write, each line with its task and node"
show reconcile logs page --container

title "The end: an app that isn't in the spec goes, where removing is allowed"
sed -i '/^apps:/,$d' "$RECONCILE_FILE"
echo 'apps: {}' >>"$RECONCILE_FILE"
show reconcile apply --prune --allow-removals 1
