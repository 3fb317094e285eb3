# Whether the scripts install all that they need, tried where nothing was installed by hand. Sourced by ./dev.
# shellcheck shell=bash

# What the outcome depends on.
bare_hash() {
    {
        cat dev
        find deploy -type f -print0 | sort -z | xargs -0 cat
        sed -n '/^name = "bindgen"$/,/^$/p; /^name = "clang-sys"$/,/^$/p' Cargo.lock
        rustc --version
        image_id "$1"
    } | sha256sum | cut -d' ' -f1
}

# In a container of the bare base image, with this machine's toolchain and crates: first bindgen has to fail where only `llvm` is
# installed, which has libraries of names like libclang's; then `./dev packages` has to bring what is missing, and bindgen to work.
check_bare() {
    local base hash log passed=$CACHE/bare toolchain cargo_home=${CARGO_HOME:-$HOME/.cargo}
    make_base
    base=$(base_image)
    hash=$(bare_hash "$base")
    if [ "$(cat "$passed" 2>/dev/null)" = "$hash" ]; then
        step "packages on a bare machine: passed before with these scripts, this bindgen and this base image"
        return
    fi
    step "packages on a bare machine (a few minutes, once for each change of the scripts)"
    toolchain=$(rustc --print sysroot)
    log=$(mktemp "$CACHE/bare.XXXXXX")
    docker run --rm -i --name "pact-bare-$$" \
        -v "$toolchain:/toolchain:ro" -v "$cargo_home/registry:/cargo/registry:ro" -v "$ROOT:/pact:ro" \
        -e CARGO_HOME=/cargo -e CARGO_TARGET_DIR=/tmp/target -e RUST_BACKTRACE=0 -e XDG_CACHE_HOME=/tmp/cache \
        -e PATH=/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        -w /pact "$base" bash -s >"$log" 2>&1 <deploy/bare-steps.sh ||
        die "./dev does not install what it needs on a bare machine" "the end of $log:" "$(tail -n 12 "$log")"
    rm -f "$log"
    echo "$hash" >"$passed"
}
