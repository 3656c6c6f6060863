#!/usr/bin/env bash
# What is too long for every check: reliability/deep.sh [MINUTES of mutations, 30] [KILLS, 200] [MINUTES of every fuzz
# target, 10]; 0 of one leaves it out. Fuzzing needs cargo-fuzz and the nightly toolchain, and is left out without them.
# SCRATCHPROOF_ROUNDS (400) is how often a file is damaged in one run; SCRATCHPROOF_ATTACKS=none leaves the attacks out.
# Adds what it did to reliability/runs.csv and writes the sums into docs/reliability.md. A finding ends it with status 1
# and stands in the output with the file, the seed and the round that show it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
minutes=${1:-30} kills=${2:-200} fuzz=${3:-10}
runs=reliability/runs.csv
[[ -s $runs ]] || echo "commit,what,seconds,count,findings" >"$runs"
commit=$(git rev-parse --short=9 HEAD)
failed=0

# note WHAT SECONDS COUNT FINDINGS
note() { printf '%s,%s,%s,%s,%s\n' "$commit" "$1" "$2" "$3" "$4" >>"$runs"; }

cargo test --release --no-run --test mutations --test store --test hostile --test faults

# Every seed is used once: the next one is the number of those before.
seed=$(awk -F, '$2 == "mutations"' "$runs" | wc -l)
end=$((SECONDS + 60 * minutes))
tally=$(mktemp)
while ((SECONDS < end)); do
    seed=$((seed + 1)) from=$SECONDS found=0
    : >"$tally"
    SCRATCHPROOF_SEED=$seed SCRATCHPROOF_ROUNDS=${SCRATCHPROOF_ROUNDS:-400} SCRATCHPROOF_TALLY=$tally \
        cargo test --release --test mutations the_same_bytes -- --nocapture || found=1
    note mutations $((SECONDS - from)) "$(grep . "$tally" || echo 0)" $found
    failed=$((failed + found))
done
rm -f "$tally"

if ((kills > 0)); then
    from=$SECONDS found=0
    SCRATCHPROOF_KILLS=$kills cargo test --release --test store kills_cost || found=1
    note kills $((SECONDS - from)) "$kills" $found
    failed=$((failed + found))
fi

if [[ ${SCRATCHPROOF_ATTACKS:-} != none ]]; then
    from=$SECONDS found=0
    cargo test --release --test hostile --test faults || found=1
    note attacks $((SECONDS - from)) "$(($(wc -l <fixtures/hostile/attacks.jsonl) - 1))" $found
    failed=$((failed + found))
fi

if ((fuzz > 0)); then
    if command -v cargo-fuzz >/dev/null && cargo +nightly --version >/dev/null 2>&1; then
        reliability/fuzz.sh "$fuzz" || failed=$((failed + 1))
    else
        echo "NOT FUZZED: cargo install cargo-fuzz; rustup toolchain install nightly" >&2
    fi
fi

table=$(awk -F, 'NR > 1 { runs[$2]++; seconds[$2] += $3; count[$2] += $4; findings[$2] += $5 }
    END { for (what in runs) printf "| %s | %d | %d | %.2f | %d |\n", what, runs[what], count[what], seconds[what] / 3600, findings[what] }' "$runs" | sort)
awk -v table="$table" '/^<!-- sums -->$/ { print; print "| what | runs | in all | hours | runs with a finding |"; print "| --- | ---: | ---: | ---: | ---: |"; print table; skip = 1; next }
    /^<!-- end of sums -->$/ { skip = 0 } !skip' docs/reliability.md >docs/reliability.md.new
mv docs/reliability.md.new docs/reliability.md
exit $((failed > 0))
