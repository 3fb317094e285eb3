# Building, with how long it takes and how far it is. Sourced by ./dev, which has say, step, die and the paths.
# shellcheck shell=bash

# What a build from nothing costs, as multiples of the CPU time of its first step (bindgen's part): all of it, RocksDB's C++ alone, and
# pact's own crates alone.
# Measured with `cargo build --timings`; only what people are told depends on them.
BUILD_WORK=40
ROCKSDB_WORK=27
OWN_WORK=4
# CPU seconds of that first step where nobody has measured it: two cores of a virtual machine.
USUAL_PACE=145
# Disk and memory that a build from nothing takes.
BUILD_GIB=5
MEMORY_GIB=3
# Between two lines about how far it is, where there is no terminal to rewrite one.
TELL_SECONDS=30

# What this machine took for the first step, in CPU seconds.
pace() { cat "$CACHE/pace" 2>/dev/null || echo $USUAL_PACE; }

# A hash of what the dependencies are built from, and the compiler; kept once they are built.
dependencies() { { cat Cargo.lock rust-toolchain.toml && sed -n '/^\[profile/,$p' Cargo.toml && rustc --version; } | sha256sum | cut -d' ' -f1; }
has_dependencies() { [ "$(cat "$CARGO_TARGET_DIR/dependencies" 2>/dev/null)" = "$(dependencies)" ]; }

minutes() { # <seconds>, as people say it
    local minutes=$((($1 + 45) / 60))
    if [ "$minutes" -le 1 ]; then echo "about a minute"; else echo "about $minutes minutes"; fi
}

# Seconds that so many multiples of the first step take here.
seconds_for() { echo $(($1 * $(pace) / $(nproc))); }

# Whether there is room for a build from nothing; asked before it begins.
check_room() {
    local free memory
    mkdir -p "$CARGO_TARGET_DIR"
    free=$(($(df --output=avail -k "$CARGO_TARGET_DIR" | tail -n 1) / 1048576))
    [ "$free" -ge $BUILD_GIB ] || die "too little disk: $free GiB are free in $CARGO_TARGET_DIR, and a first build takes $BUILD_GIB" \
        "make room, or name another folder: CARGO_TARGET_DIR=/somewhere/else ./dev up"
    memory=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1048576))
    [ "$memory" -ge $MEMORY_GIB ] || say "only $memory GiB of memory are free; if a compiler is killed: CARGO_BUILD_JOBS=1 ./dev up"
}

# The last thing that cargo said about its progress: "212 of 452 parts; now: librocksdb-sys(build)"
last_progress() {
    tail -c 2000 "$1" | tr '\r' '\n' | sed -nE -e 's/^ *Building \[[^]]*\] ([0-9]+)\/([0-9]+): (.*[^ ]) *$/\1 of \2 parts; now: \3/p' \
        -e 's/^ *Blocking waiting for file lock on (.*[^ ]) *$/another cargo holds the \1; this one goes on after it/p' | tail -n 1
}

# watch_build <log> <seconds that it is expected to take>: until the log is gone, or ./dev.
watch_build() {
    local log=$1 expected=$2 begun=$SECONDS told=$SECONDS passed left progress
    while sleep 1 && kill -0 $$ 2>/dev/null && [ -e "$log" ]; do
        passed=$((SECONDS - begun))
        progress=$(last_progress "$log")
        [ -n "$progress" ] || continue
        left="$(minutes $((expected - passed))) left"
        [ "$passed" -lt "$expected" ] || left="longer than expected"
        if [ -t 2 ]; then
            printf '\r\033[K    %s' "$(cut -c "1-$((${COLUMNS:-$(tput cols 2>/dev/null || echo 80)} - 6))" <<<"$left; $progress")" >&2
        elif [ $((SECONDS - told)) -ge $TELL_SECONDS ]; then
            told=$SECONDS
            say "    $(cut -c 1-120 <<<"$left; $progress")"
        fi
    done
}

# What a failed build said, without what only fills the screen.
build_errors() {
    tr '\r' '\n' <"$1" | grep -vE '^ *(Building|Compiling|Downloaded|Downloading|Updating|Fresh) |^ *$' |
        sed -n '/^error/,$p' | sed -E '/^ *stack backtrace:/,/^ *note: /d' | grep -vE '^ *(process didn|cargo:|--- stdout|note: run with)' | head -n 40
}

# What to do about a failed build, by what it said.
build_advice() {
    if grep -qE 'find libclang|libclang.* could not be opened' "$1"; then
        echo "bindgen finds no libclang: apt-get install libclang-dev, or LIBCLANG_PATH=/folder/of/libclang.so"
    elif grep -qE "'std[a-z]+\.h' file not found" "$1"; then
        echo "libclang is there without its headers: apt-get install libclang-dev"
    elif grep -qiE 'no space left on device' "$1"; then
        echo "the disk of $CARGO_TARGET_DIR is full: make room, or CARGO_TARGET_DIR=/somewhere/else ./dev up"
    elif grep -qE 'signal: 9|SIGKILL|Killed signal' "$1"; then
        echo "a compiler was killed, most likely for memory: CARGO_BUILD_JOBS=1 ./dev up"
    elif grep -qE 'failed to download|failed to fetch|Could not resolve host|spurious network error' "$1"; then
        echo "the registry of Rust's crates cannot be reached: see to the network (proxies: HTTPS_PROXY), run it again"
    elif grep -qE 'linker .* not found' "$1"; then
        echo "there is no linker: apt-get install build-essential"
    else
        echo "run it again when that is mended; what was built stays"
    fi
}

# cargo_build <seconds expected> <arguments…>: dies with what to do when it fails.
cargo_build() {
    local expected=$1 log watching='' code=0
    shift
    mkdir -p "$CARGO_TARGET_DIR"
    log=$(mktemp "$CARGO_TARGET_DIR/build.XXXXXX")
    watch_build "$log" "$expected" &
    watching=$!
    RUST_BACKTRACE=0 CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=120 \
        cargo build --locked "$@" >>"$log" 2>&1 || code=$?
    kill $watching 2>/dev/null || true
    wait $watching 2>/dev/null || true
    [ ! -t 2 ] || printf '\r\033[K' >&2
    if [ $code -ne 0 ]; then
        mv -f "$log" "$CARGO_TARGET_DIR/failed-build.log"
        log=$CARGO_TARGET_DIR/failed-build.log
        # Cut short by head, or with nothing to show, it says that it failed.
        build_errors "$log" >&2 || true
        die "the build failed" "$(build_advice "$log")" "all that cargo said: $log"
    fi
    compiled=$(tr '\r' '\n' <"$log" | grep -cE '^ *Compiling ' || true)
    rm -f "$log"
}

# CPU seconds of all processes that ended, in cpu_seconds: `times` in a subshell would tell that one's.
read_cpu_seconds() {
    local file word
    file=$(mktemp)
    times >"$file"
    cpu_seconds=0
    for word in $(tail -n 1 "$file"); do
        word=${word%.*}
        cpu_seconds=$((cpu_seconds + ${word%m*} * 60 + ${word#*m}))
    done
    rm -f "$file"
}

# The first step of a build: whether this machine has what RocksDB's needs. Its pace tells how long the rest takes.
probe() {
    local cpu_seconds before
    read_cpu_seconds
    before=$cpu_seconds
    cargo_build "$(seconds_for 1)" --workspace --bin pact-probe-bindgen
    read_cpu_seconds
    # Compiled from nothing, it is a measure.
    [ "$compiled" -lt 10 ] || { mkdir -p "$CACHE" && echo $((cpu_seconds - before)) >"$CACHE/pace"; }
}

build() {
    local compiled=0 begun=$SECONDS expected work=$BUILD_WORK
    if has_dependencies; then
        expected=$(seconds_for $OWN_WORK)
        step "building what changed: at most $(minutes "$expected")"
    else
        check_room
        step "building the dependencies too; $(minutes "$(seconds_for 1)") for the first step, which tells how long the rest takes"
        probe
        compgen -G "$CARGO_TARGET_DIR/debug/.fingerprint/librocksdb-sys-*/lib-librocksdb_sys" >/dev/null && work=$((work - ROCKSDB_WORK))
        expected=$(seconds_for $work)
        step "building: at most $(minutes "$expected") on this machine (later builds: seconds)"
    fi
    cargo_build "$expected" --workspace --bins
    dependencies >"$CARGO_TARGET_DIR/dependencies"
    if [ "$compiled" -eq 0 ]; then
        step "built already: nothing to compile"
    else
        step "built in $((SECONDS - begun)) s"
    fi
}
