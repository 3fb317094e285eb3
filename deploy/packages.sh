# What the machine needs, and how it gets it. Sourced by ./dev, which has say, step and die.
# shellcheck shell=bash

# The oldest nats-server that pact runs on (docs/brokers.md).
OLDEST_NATS=2.9.10

# is_at_least <version> <least>
is_at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

need_rust() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    command -v cargo >/dev/null 2>&1 ||
        die "there is no Rust toolchain" "install one with:" \
            "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" "then run ./dev again in a new shell"
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    # rustup's cargo stops here when the toolchain of rust-toolchain.toml is not installed, and says how to get it.
    found=$(cargo --version 2>&1) || die "cargo does not run: $(tail -n 1 <<<"$found")" \
        "the toolchain is named in rust-toolchain.toml: rustup toolchain install"
    found=${found#cargo } found=${found%% *}
    is_at_least "$found" "$wanted" || die "Rust $found is too old: pact needs $wanted" \
        "$(command -v cargo) is the one that was found; rustup brings the one of rust-toolchain.toml: https://rustup.rs"
}

# --- questions: each asks what the build or a test will ask for ------------------

compiles() { # C and C++, with headers, to a program
    local program
    program=$(mktemp)
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -x c -o "$program" - 2>/dev/null &&
        printf '#include <string>\nint main() { return 0; }\n' | c++ -x c++ -o "$program" - 2>/dev/null
    local code=$?
    rm -f "$program"
    return $code
}

# Whether libclang is usable, bindgen alone can say, and is asked before anything else is compiled (deploy/probe-bindgen). Which package
# brings it, the package manager knows. LIBCLANG_PATH names one that no package brought.
has_libclang() {
    [ -z "${LIBCLANG_PATH-}" ] || return 0
    command -v dpkg-query >/dev/null 2>&1 || return 0
    local states
    # Fails when one of the patterns matches nothing.
    states=$(dpkg-query -W -f '${db:Status-Status}\n' libclang-dev 'libclang-[0-9]*-dev' 2>/dev/null) || true
    grep -qx installed <<<"$states"
}

nats_server() { command -v nats-server; }

has_nats() {
    local version
    version=$(nats-server --version 2>/dev/null) || return 1
    version=${version##*v}
    is_at_least "$version" "$OLDEST_NATS" || die "nats-server $version is too old: pact needs $OLDEST_NATS" \
        "$(nats_server) is the one that was found; docs/brokers.md says which are tested"
}

runs() { command -v "$1" >/dev/null 2>&1; }

# Package, and the question whose answer it is; what only tests need comes second.
UP_NEEDS=("build-essential:compiles" "libclang-dev:has_libclang" "nats-server:has_nats")
# Shells that complete pact, what reads its manual pages, and programs that tests run on the node.
TEST_NEEDS=("shellcheck:runs shellcheck" "zsh:runs zsh" "fish:runs fish" "mandoc:runs mandoc" "man-db:runs lexgrog" "procps:runs sysctl")

# need_packages [test]: installs what is missing of what pact is built, or built and tested, with.
need_packages() {
    local needs=("${UP_NEEDS[@]}") need missing=() there=()
    [ "${1:-}" != test ] || needs+=("${TEST_NEEDS[@]}")
    for need in "${needs[@]}"; do
        if ${need#*:}; then there+=("${need%%:*}"); else missing+=("${need%%:*}"); fi
    done
    [ ${#there[@]} -eq 0 ] || step "already there: ${there[*]}"
    [ ${#missing[@]} -gt 0 ] || return 0
    install_packages "${missing[@]}"
    for need in "${needs[@]}"; do
        ${need#*:} || die "${need%%:*} is installed and does not do: \`${need#*:}\` still fails" "look at: apt-cache policy ${need%%:*}"
    done
}

# Installs these Debian packages, asking first when not root.
install_packages() {
    command -v apt-get >/dev/null 2>&1 || die "missing: $*" "these are Debian's names; install them with this system's package manager, then run ./dev again"
    local sudo=() error
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || die "missing: $*" "as root: apt-get install $*"
        [ -t 0 ] || die "missing: $*" "run: sudo apt-get install $*"
        read -r -p "Install $* with sudo apt-get? [y/N] " answer
        [[ $answer == [yY]* ]] || die "not installed: $*"
        sudo=(sudo)
    fi
    step "installing $*"
    # A source that does not answer matters only when a package comes from there.
    error=$("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq 2>&1) || say "apt-get update: $(tail -n 1 <<<"$error")"
    # The package starts a server of its own; pact's own instance is the one to use here.
    error=$("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "$@" 2>&1 >/dev/null) ||
        die "apt-get could not install $*" "$(tail -n 5 <<<"$error")" "when it works: apt-get install $*, run ./dev again"
}

# `./dev packages`
packages() {
    need_packages test
    step "this machine has the packages that ./dev up and ./dev test need"
}
