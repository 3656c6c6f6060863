#!/usr/bin/env bash
# Fuzzes every reader, guided by coverage, under AddressSanitizer: reliability/fuzz.sh MINUTES [TARGET...]
# Needs cargo-fuzz and the nightly toolchain. Without targets every one is run, in turn, so many minutes each. What libFuzzer
# begins with is made of the fixtures; what it found worth keeping lies in target/fuzz/TARGET and is gone on from. A
# finding is a panic, two different answers, a bad access, more than 2 GiB or more than 25 seconds: its bytes lie in
# target/fuzz/found and it ends this with status 1. Every run adds a line to reliability/runs.csv.
# SCRATCHPROOF_SANITIZER=none leaves AddressSanitizer out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
minutes=${1:?minutes for every target}
shift
sanitizer=${SCRATCHPROOF_SANITIZER:-address}
place=$PWD/target/fuzz
runs=reliability/runs.csv
commit=$(git rev-parse --short=9 HEAD)
mkdir -p "$place/found"

build=(cargo +nightly fuzz build --strip-dead-code --sanitizer "$sanitizer" --target-dir "$place/build")
RUSTC_WRAPPER=$PWD/fuzz/rustc "${build[@]}" weights
RUSTC_WRAPPER=$PWD/fuzz/rustc "${build[@]}" --features records records
built=$place/build/$(rustc -vV | sed -n 's/^host: //p')/release

failed=0
for binary in weights records; do
    SCRATCHPROOF_SEEDS=$place/targets "$built/$binary"
    while read -r target <&3; do
        (($# == 0)) || [[ " $* " == *" $target "* ]] || continue
        seeds=$place/seeds/$target kept=$place/$target log=$place/$target.log
        rm -rf "$seeds"
        mkdir -p "$seeds" "$kept"
        export SCRATCHPROOF_TARGET=$target
        SCRATCHPROOF_SEEDS=$seeds "$built/$binary"
        printf '== %s\n' "$target"
        from=$SECONDS found=0
        # The threads of a reader would make two runs of the same bytes take different ways.
        RAYON_NUM_THREADS=1 ASAN_OPTIONS=abort_on_error=1 "$built/$binary" -max_total_time=$((60 * minutes)) -max_len=131073 \
            -rss_limit_mb=2048 -timeout=25 -print_final_stats=1 -artifact_prefix="$place/found/$target-" "$kept" "$seeds" \
            >"$log" 2>&1 || found=1
        if ((found)); then
            tail -n 40 "$log"
            failed=1
        fi
        count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        what="fuzz $target"
        [[ $sanitizer == address ]] || what+=" (no sanitizer)"
        printf '%s,%s,%s,%s,%s\n' "$commit" "$what" $((SECONDS - from)) "${count:-0}" $found >>"$runs"
        # Of what was kept, the least that reaches the same places.
        mkdir -p "$kept.least"
        RAYON_NUM_THREADS=1 "$built/$binary" -merge=1 -max_len=131073 "$kept.least" "$kept" >/dev/null 2>&1 || true
        if [[ -n $(ls -A "$kept.least") ]]; then
            rm -rf "$kept"
            mv "$kept.least" "$kept"
        else
            rm -rf "$kept.least"
        fi
        unset SCRATCHPROOF_TARGET
    done 3<"$place/targets"
done
exit $failed
