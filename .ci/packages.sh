# shellcheck shell=bash
# Sourced by ./demo, ./test and deploy/image/build: Debian packages that a bare machine lacks.

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Runs a command as root: directly, or by sudo where that asks for no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_be_root() { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }

# need WHAT CHECK PACKAGE...: makes sure that the command CHECK succeeds, by installing the packages where it does not.
# Says plainly what is missing, and fails, where this user may not install anything.
need() {
    local what=$1 check=$2
    shift 2
    "$check" && return 0
    command -v apt-get >/dev/null || fail "$what: missing, and there is no apt-get here; install the equivalent of: $*"
    may_be_root || fail "$what: missing; run as root: apt-get install -y --no-install-recommends $*"
    echo "installing $what: $*"
    as_root apt-get -qq -o DPkg::Lock::Timeout=300 update ||
        echo "apt-get update failed; going on with the package lists that are there" >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "$@" >/dev/null || fail "$what: apt-get could not install: $*"
    "$check" || fail "$what: still missing after installing: $*"
}

have_build_tools() {
    command -v cc >/dev/null && command -v pkg-config >/dev/null && pkg-config --exists openssl
}

need_build_tools() {
    command -v cargo >/dev/null ||
        fail "cargo: missing; install a Rust toolchain first (rust-toolchain.toml names the version)"
    need "what OpenSSL's bindings are built with" have_build_tools gcc libc6-dev make pkg-config libssl-dev
}
