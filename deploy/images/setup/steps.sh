# What the steps of the compose stack share. Sourced, so shellcheck sees no use of it here.
# shellcheck disable=SC2034
# shellcheck shell=bash
SITE=/site
NODES=(node-1 node-2 node-3)
VCLUSTER=dev

say() { printf '%s\n' "$*" >&2; }

# die <what happened> [what to do…]
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}
