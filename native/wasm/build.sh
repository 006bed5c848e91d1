#!/usr/bin/env bash
# The engine as WebAssembly: topseg.wasm (SIMD) and topseg_relaxed.wasm (fused products and sums).
#
#     native/wasm/build.sh [FOLDER]      without FOLDER: where the page and the npm package have them
#
# Debian packages: clang-19 lld-19 libc++-19-dev-wasm32 libclang-rt-19-dev-wasm32 wasi-libc. The same
# packages give the same bytes everywhere: SHA256SUMS has their versions and the modules' hashes.
set -euo pipefail
native=$(realpath "$(dirname "$0")/..")
out=$(realpath -m "${1:-$native/../src/topseg/serve/page/engine}")
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cd "$native"
mkdir -p "$out"

compile=(
    clang++-19 --target=wasm32-wasi -std=c++17 -O3 -g0 -DNDEBUG -DTOPSEG_STATIC -Iinclude -I.
    -Wall -Wextra -Werror -Wno-for-loop-analysis
    # Without contraction all code paths without fused instructions give the same bits.
    -ffp-contract=off -fno-math-errno -fno-trapping-math
    -fno-exceptions -fno-rtti -fvisibility=hidden
    -msimd128 -mbulk-memory -mnontrapping-fptoint -msign-ext
)
link=(-mexec-model=reactor -Wl,-s,--stack-first,-z,stack-size=1048576
    -Wl,--export=malloc,--export=free,--export=__stack_pointer)
for name in $(grep -o '\btopseg_[a-z0-9_]*(' include/topseg.h | tr -d '(' | sort -u); do
    [ "$name" = topseg_open ] || link+=("-Wl,--export=$name") # there are no folders
done

build() { # NAME FLAG...
    local objects=()
    for source in capi path_portable wasm; do
        objects+=("$work/$1.$source.o")
        "${compile[@]}" "${@:2}" -c src/$source.cpp -o "${objects[-1]}"
    done
    "${compile[@]}" "${@:2}" "${link[@]}" "${objects[@]}" -o "$out/$1.wasm"
    chmod 644 "$out/$1.wasm"
}
build topseg &
build topseg_relaxed -mrelaxed-simd
wait $!
# Nothing of the C library's runs on two threads, so it need not be compiled for it.
link+=(-Wl,--import-memory,--shared-memory,--initial-memory=4194304,--max-memory=1073741824,--no-check-features)
build topseg_threads -mrelaxed-simd -matomics

packages=(clang-19 lld-19 libc++-19-dev-wasm32 libclang-rt-19-dev-wasm32 wasi-libc)
{
    dpkg-query --show --showformat '# ${Package} ${Version}\n' "${packages[@]}"
    (cd "$out" && sha256sum topseg.wasm topseg_relaxed.wasm topseg_threads.wasm)
} >"$out/SHA256SUMS"
