# Shell functions that tests/run.sh and examples/quickstart.sh share. Source it.

# make_base_image NAME: busybox with its applets as an image, without any registry.
# Does nothing when the engine has NAME already.
make_base_image() {
    local docker=${DOCKER:-docker} root
    if "$docker" image inspect "$1" >/dev/null 2>&1; then return; fi
    root=$(mktemp -d)
    mkdir -p "$root"/{bin,dev,etc,home,proc,root,sys,tmp,usr/bin,var/www}
    chmod 1777 "$root/tmp"
    cp "$(command -v busybox)" "$root/bin/busybox"
    "$root/bin/busybox" --install "$root/bin"
    printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/home:/bin/false >"$root/etc/passwd"
    printf '%s\n' root:x:0: nogroup:x:65534: >"$root/etc/group"
    tar -C "$root" -c . | "$docker" import \
        --change 'ENV PATH=/usr/bin:/bin' --change 'CMD ["sh"]' - "$1" >/dev/null
    rm -rf "$root"
}
