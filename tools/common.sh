# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the scripts of this folder share. Source it; it finds the repository from any directory.

set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# The release has a build folder of its own, so that a plain `swift build` never replaces the static program.
release=$root/.build/static
program=$release/release/qcowbackup

note() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

fail() {
    note "$@"
    exit 1
}

# Runs a command as root, through sudo where needed.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root, and there is no sudo: run it as root: $*"
    fi
}

# Builds one product of the package as a release with the Swift runtime inside.
# Prints nothing unless that fails, then the whole build output to stderr.
build_product() {
    local log=$release/build.log
    mkdir -p "$release"
    env -u QCOWBACKUP_WARNINGS swift build --package-path "$root" --scratch-path "$release" \
        --configuration release --static-swift-stdlib --product "$1" >"$log" 2>&1 </dev/null || {
        cat "$log" >&2
        fail "the build failed"
    }
}

# Builds the program, unless no source changed since the last time.
build_program() {
    local stamp=$release/built
    if [[ -x $program && -e $stamp ]] &&
        [[ -z $(find "$root/Sources" "$root/Package.swift" -newer "$stamp" -print -quit) ]]; then
        return
    fi
    "$root/tools/setup" build
    note "building the program (a few minutes the first time)"
    mkdir -p "$release"
    # Dated before the build: a source that changes while it runs is built again next time.
    touch "$stamp.$$"
    build_product qcowbackup
    mv "$stamp.$$" "$stamp"
}
