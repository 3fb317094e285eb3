#!/bin/bash
# Makes or completes the site of the compose stack in the volume /site, and gives each part its keys, and no others, in a volume
# of its own below /parts. Repeatable: files appear whole, what is there is kept, so a run that was cut off is completed by the
# next one.
set -euo pipefail
# shellcheck source=deploy/images/setup/steps.sh
. /usr/share/pact/steps.sh
umask 077
PARTS=/parts

if [ "$(id -u)" -eq 0 ]; then
    # Docker makes volumes for root. From here on everything belongs to the user of the services.
    chown 10001:10001 "$SITE" "$PARTS"/*
    exec setpriv --reuid=10001 --regid=10001 --clear-groups --inh-caps=-all --no-new-privs "$0"
fi

# place <part> <name> <file of the site> [mode]
place() {
    local target=$PARTS/$1/$2 source=$SITE/$3 mode=${4:-0600}
    mkdir -p "${target%/*}"
    cmp -s "$source" "$target" && return
    install -m "$mode" "$source" "$target.new"
    sync "$target.new"
    mv -f "$target.new" "$target"
}

# A journal whose site is gone would go on with the keys of a new one: nothing that it holds could be verified any more.
refuse_orphans() {
    local member
    [ -e "$SITE/SITE" ] && return
    for member in 1 2 3; do
        [ -e "/data/journal-$member/IDENTITY" ] || continue
        die "the volume \`journal-$member\` holds a journal, and the volume \`site\` with the keys of its cluster is empty" \
            "bring that volume back, or forget the journal too: \`docker compose down -v\`, then start again"
    done
}

make_site() {
    local error
    error=$(pact-enroll bootstrap --dir "$SITE" --site compose \
        --member 1:journal-1:9444 --member 2:journal-2:9444 --member 3:journal-3:9444 \
        --gateway gateway-1:gateway-1,localhost,127.0.0.1 \
        --gateway gateway-2:gateway-2,localhost,127.0.0.1 \
        --gateway gateway-idp:gateway-idp,localhost,127.0.0.1 \
        --bus-host nats --bus-listen 0.0.0.0:4222 2>&1 >/dev/null) ||
        die "the volume \`site\` cannot be used: $error" \
            "it may be of another version or stack: \`docker compose down -v\` forgets all of this one, then start again"
    pact-dev-issuer init --dir "$SITE/issuer"
}

# Paths within are those that the site's nats-server.conf names.
bus_keys() {
    place bus bus/nats-server.conf bus/nats-server.conf 0644
    place bus tls/bus.crt tls/bus.crt 0644
    place bus tls/bus.key tls/bus.key
    mkdir -p "$PARTS/bus/bus/resolver" "$PARTS/bus/bus/jetstream"
}

# bus_user <part>
bus_user() {
    place "$1" ca.crt ca.crt 0644
    place "$1" bus.creds "creds/$1.creds"
}

journal_keys() {
    bus_user "journal-$1"
    place "journal-$1" tls.crt "tls/journal-$1.crt" 0644
    place "journal-$1" tls.key "tls/journal-$1.key"
    place "journal-$1" grant.crt "signing/grant-$1.crt" 0644
    place "journal-$1" grant.key "signing/grant-$1.key"
}

gateway_keys() {
    bus_user "gateway-$1"
    place "gateway-$1" tls.crt "tls/gateway-$1.crt" 0644
    place "gateway-$1" tls.key "tls/gateway-$1.key"
    place "gateway-$1" signing.crt "signing/gateway-$1.crt" 0644
    place "gateway-$1" signing.key "signing/gateway-$1.key"
    # Whose tokens they take. The provider of the profile `idp` writes its own keys there.
    [ "$1" = idp ] || place "gateway-$1" jwks.json issuer/jwks.json 0644
}

enroll_keys() {
    bus_user enroll-1
    place enroll-1 system.creds creds/enroll-sys.creds
    place enroll-1 root.key root.key
    place enroll-1 pact.jwt bus/pact.jwt 0644
    place enroll-1 agents.nk bus/pact-agents.nk
    place enroll-1 operator-signing.nk bus/operator-signing.nk
    place enroll-1 signing.crt signing/enroll-1.crt 0644
    place enroll-1 signing.key signing/enroll-1.key
}

refuse_orphans
make_site
bus_keys
for member in 1 2 3; do journal_keys "$member"; done
for gateway in 1 2 idp; do gateway_keys "$gateway"; done
enroll_keys
bus_user approval-1
bus_user bridge-1
# All that an agent needs to know in advance; others may read it.
chmod 0755 "$PARTS/trust"
place trust ca.crt ca.crt 0644
say "the site is complete"
