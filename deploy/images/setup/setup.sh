#!/bin/bash
# Writes the development tokens and the site's root to the host (/out), then declares the vCluster and registers and assigns the
# nodes, once. Repeatable: what is there is kept; tokens are new each time.
set -euo pipefail
# shellcheck source=deploy/images/setup/steps.sh
. /usr/share/pact/steps.sh
umask 077
OUT=/out
SPEC=/etc/pact/vcluster.toml
# As long as the gateways accept.
TOKEN_HOURS=168
# A journal without a leader is not given up on before this many tries, one a second.
TRIES=60

write_out() {
    local entry
    mkdir -p "$OUT/tokens"
    for entry in admin:pact-platform-admin "ops:pact-ops-$VCLUSTER" "viewer:pact-viewer-$VCLUSTER"; do
        pact-dev-issuer mint --dir "$SITE/issuer" --issuer pact-development --audience pact --hours "$TOKEN_HOURS" \
            --subject "${entry%%:*}" --role "${entry#*:}" --out "$OUT/tokens/${entry%%:*}.token"
    done
    install -m 0644 "$SITE/ca.crt" "$OUT/ca.crt.new"
    mv -f "$OUT/ca.crt.new" "$OUT/ca.crt"
    # The files belong to whom the checkout belongs to, also where Docker has just made the folder.
    chown -hR "$(stat -c %u:%g "$SPEC")" "$OUT"
}

wait_for_journal() {
    local error='' i
    for ((i = 0; i < TRIES; i++)); do
        error=$(pact node list 2>&1 >/dev/null) && return
        sleep 1
    done
    die "the gateways do not reach the journal: $error" \
        "see \`docker compose ps\` for what is not healthy, and its log: \`docker compose logs <name>\`"
}

declare_vcluster() {
    local error
    pact group show "$VCLUSTER" >/dev/null 2>&1 && return
    error=$(pact apply --create "$SPEC" 2>&1) || die "cannot declare the vCluster $VCLUSTER: $error"
}

# add_node <node> <number>: its agent enrols with the hardware address that ends in this number.
add_node() {
    local node=$1 error
    if ! pact node inspect "$node" >/dev/null 2>&1; then
        error=$(pact node enroll "$node" --mac "02:00:00:00:00:0$2" 2>&1) || die "cannot register $node: $error"
    fi
    if ! pact node list --vcluster "$VCLUSTER" 2>/dev/null | grep -qw -- "$node"; then
        error=$(pact node assign "$node" --vcluster "$VCLUSTER" 2>&1) || die "cannot assign $node: $error"
    fi
}

write_out
PACT_TOKEN=$(<"$OUT/tokens/admin.token")
export PACT_TOKEN PACT_ENDPOINT=https://gateway-1:9443,https://gateway-2:9443 PACT_TLS_CA=$SITE/ca.crt
wait_for_journal
declare_vcluster
for i in "${!NODES[@]}"; do add_node "${NODES[i]}" $((i + 1)); done
say "nodes ${NODES[*]} are registered and assigned to vCluster $VCLUSTER"
