#!/bin/bash
# Compiles pact in the `build` stage of the images; each set of programs goes to a folder of its own below /out.
set -euo pipefail
cd "$(dirname "$0")/../.."

# bindgen, for RocksDB.
apt-get update -qq
apt-get install -y -qq --no-install-recommends libclang-dev >/dev/null
cargo build --workspace --bins --release --locked --target-dir /target

# out <set> <program…>
out() {
    local set=$1 program
    shift
    install -d "/out/$set"
    for program in "$@"; do
        strip --strip-all -o "/out/$set/$program" "/target/release/$program"
    done
}
out services pact-journal pact-gateway pact-enroll pact-approval pact-bridge
out agent pact-agent
out cli pact
out setup pact pact-dev-issuer pact-enroll
# The stage is kept as cache; what it was made of is not needed there.
rm -rf /target
