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

# The toolchain's own linker makes a smaller program, with functions that are the same joined where nobody can tell, and
# without names for plug-ins, of which there are none. Addresses of functions are bound at the start, then write-protected.
link_options=(-Xswiftc -use-ld=lld -Xlinker --icf=safe -Xlinker --no-export-dynamic -Xlinker -z -Xlinker now)

# Builds one product of the package as a release with the Swift runtime inside.
# Prints nothing unless that fails, then the whole build output to stderr.
build_product() {
    local log=$release/build.log
    mkdir -p "$release"
    env -u QCOWBACKUP_WARNINGS swift build --package-path "$root" --scratch-path "$release" \
        --configuration release --static-swift-stdlib "${link_options[@]}" --product "$1" >"$log" 2>&1 </dev/null || {
        cat "$log" >&2
        fail "the build failed"
    }
}

# Whether no source changed since the program was built.
program_is_current() {
    [[ -x $program && -e $release/built ]] &&
        [[ -z $(find "$root/Sources" "$root/Package.swift" "$root/tools/common.sh" -newer "$release/built" -print -quit) ]]
}

# Builds the program, unless no source changed since the last time.
build_program() {
    local stamp=$release/built
    if program_is_current; then
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

# Builds the program and puts what is installed into a folder: the program without its symbols, man page, completions.
#
# stage PREFIX ZSH: PREFIX is made anew, ZSH is where zsh looks for completions, below it.
stage() {
    local prefix=$1 zsh=$1/$2 manual=$1/share/man/man1
    local bash=$1/share/bash-completion/completions fish=$1/share/fish/vendor_completions.d
    build_program
    note "writing the man page and the completions"
    build_product generate-manual
    rm -rf "$prefix"
    mkdir -p "$prefix/bin" "$manual" "$bash" "$zsh" "$fish"
    # Symbols and what debuggers read are more than half of the file.
    install --strip --mode=755 "$program" "$prefix/bin/qcowbackup"
    "$release/release/generate-manual" "$program" --output-directory "$manual"
    # Its empty lines are not for mdoc, which has a macro for them.
    sed --in-place 's/^$/.Pp/' "$manual"/*
    # It is read by the shell and not run.
    "$program" --generate-completion-script bash | sed '1 { /^#!/d }' >"$bash/qcowbackup"
    "$program" --generate-completion-script zsh >"$zsh/_qcowbackup"
    "$program" --generate-completion-script fish >"$fish/qcowbackup.fish"
}
