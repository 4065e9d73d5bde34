# What the scripts beside it share: servers that are gone when the script is, and questions to them.
# To be sourced.

set -euo pipefail

scratch=$(mktemp -d)
servers=()

# Ends what was started here, by process id.
clean_up() {
    local server
    for server in "${servers[@]}"; do
        kill "$server" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap clean_up EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# expect WANTED GOT WHAT
expect() {
    [ "$1" = "$2" ] || fail "$3: $2 instead of $1"
    echo "$3: $2"
}

# status CURL_ARGUMENT...: the status, 000 while nobody answers. The body is in $scratch/body, the
# headers in $scratch/headers.
status() {
    curl --silent --max-time 10 --output "$scratch/body" --dump-header "$scratch/headers" \
        --write-out '%{http_code}' "$@" || true
}

# until_status WANTED WHAT CURL_ARGUMENT...: asks until the answer is WANTED, for 15 seconds.
until_status() {
    local wanted=$1 what=$2 got='' end=$((SECONDS + 15))
    shift 2
    while got=$(status "$@"); [ "$got" != "$wanted" ]; do
        [ "$SECONDS" -lt "$end" ] || fail "$what: still $got instead of $wanted after 15 s"
        sleep 0.05
    done
    echo "$what: $got"
}

# stop PID WHAT: asks it to end, and wants it to end well.
stop() {
    kill -TERM "$1"
    wait "$1" || fail "$2 ended with $? after SIGTERM"
    echo "$2 ended well after SIGTERM"
}
