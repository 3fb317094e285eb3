#!/bin/bash
# The steps of the check on a bare machine (deploy/bare.sh), in its container: `bash -s`, so that the checkout may be read-only.
set -euo pipefail

fail() {
    echo "error: $1" >&2
    exit 1
}

# Nothing of this build is kept, so nothing of it is optimised.
probe() {
    cargo build --quiet --offline --locked --workspace --bin pact-probe-bindgen --config 'profile.dev.package."*".opt-level=0' 2>&1
}

apt-get update -qq
echo "== llvm without libclang"
# As people install it: what it recommends brings libclang-cpp.
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq build-essential llvm >/dev/null
ls /usr/lib/llvm-*/lib/libclang-cpp.so* >/dev/null || fail "llvm brings no libclang-cpp any more: this case tells nothing"
said=$(probe) && fail "bindgen works without libclang: this case tells nothing"
grep -q "find libclang" <<<"$said" || fail "bindgen fails for another reason: $said"

echo "== ./dev packages"
./dev packages
said=$(./dev packages 2>&1)
grep -q "installing" <<<"$said" && fail "a second ./dev packages installs again: $said"

echo "== bindgen"
probe
"$CARGO_TARGET_DIR/debug/pact-probe-bindgen"
