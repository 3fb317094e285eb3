#!/bin/bash
# Health checks of containers, without curl.
#   pact-health [PORT [PATH]]     200 on http://127.0.0.1:PORT/PATH; by default /readyz of the service in this container
#   pact-health --connected PORT  a connection from here to this port of another machine stands
set -euo pipefail

# Where the service that was started here serves health, unless its configuration says otherwise.
own_port() {
    local words
    words=$(tr '\0' ' ' </proc/1/cmdline)
    case $words in
    *pact-journal*) echo 9091 ;;
    *pact-gateway*) echo 9092 ;;
    *pact-enroll*) echo 9093 ;;
    *pact-approval*) echo 9094 ;;
    *pact-bridge*) echo 9095 ;;
    *)
        echo "pact-health: no service of pact runs here; name its port" >&2
        return 2
        ;;
    esac
}

# Local ports of established connections to this port. The kernel's tables: addresses and ports are hexadecimal, state 01 is
# "established".
connections() {
    sed -nE "s/^ *[0-9]+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:$1 01 .*/\1/p" /proc/net/tcp /proc/net/tcp6 2>/dev/null | sort
}

# One that is refused after its handshake does not stand for a second.
connected() {
    local port first second
    printf -v port '%04X' "$1"
    first=$(connections "$port")
    sleep 1
    second=$(connections "$port")
    [ -n "$(comm -12 <(echo "$first") <(echo "$second"))" ] && return
    echo "no connection to port $1 stands" >&2
    return 1
}

answers() {
    local status line last=''
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
    IFS= read -r -t 5 status <&3
    [[ $status == *' 200 '* ]] && return
    # What it waits for is in the last line.
    while IFS= read -r -t 5 line <&3; do last=$line; done
    echo "$2: ${status%$'\r'} $last" >&2
    return 1
}

if [ "${1-}" = --connected ]; then
    connected "$2"
else
    port=${1:-$(own_port)}
    answers "$port" "${2:-/readyz}"
fi
