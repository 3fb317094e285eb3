#!/bin/bash
# A stand-in for debian:bookworm-slim where no registry is reachable: writes its files as a tar archive to stdout.
# Needs root (debootstrap) and a Debian mirror: base.sh [mirror]
set -euo pipefail

MIRROR=${1:-http://deb.debian.org/debian}
SECURITY=${MIRROR%/debian}/debian-security
SUITE=bookworm

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

debootstrap --variant=minbase "$SUITE" "$root" "$MIRROR" >"$work/log" 2>&1 || {
    tail -n 5 "$work/log" >&2
    exit 1
}

# As in Debian's own slim images: what is installed later brings no documentation but its licence.
cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'SLIM'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
SLIM
cat >"$root/etc/apt/sources.list" <<SOURCES
deb $MIRROR $SUITE main
deb $MIRROR $SUITE-updates main
deb $SECURITY $SUITE-security main
SOURCES
# A container starts no services.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
{
    chroot "$root" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get upgrade -y -qq
    chroot "$root" apt-get clean
} >>"$work/log" 2>&1 || {
    tail -n 5 "$work/log" >&2
    exit 1
}

find "$root/usr/share/doc" -type f ! -name copyright -delete
find "$root/usr/share/doc" -depth -type d -empty -delete
tar -C "$root" --numeric-owner --one-file-system --sort=name -c \
    --exclude='./var/lib/apt/lists/*' --exclude='./var/cache/*/*' --exclude='./var/log/*' --exclude='./usr/share/info/*' \
    --exclude='./usr/share/locale/*' --exclude='./usr/share/man/*' --exclude='./dev/*' --exclude='./etc/resolv.conf' \
    --exclude='./etc/hostname' --exclude='./tmp/*' .
