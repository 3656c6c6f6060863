#!/usr/bin/env bash
# Lines of the judging rooms and of the readers that unit tests, mutations, and audits of the fixture cases run:
# reliability/coverage.sh [ROUNDS of mutations, 5]. Writes the table into docs/reliability.md and the files with most lines that did not run to stderr. Needs the
# component llvm-tools of the toolchain; dependencies are built as for the tests and counted nowhere.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
place=$PWD/target/coverage
tools=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
[[ -x $tools/llvm-profdata ]] || { echo "llvm-tools is missing: rustup component add llvm-tools" >&2; exit 1; }
mkdir -p "$place"
rm -f "$place"/*.profraw

mapfile -t programs < <(RUSTC_WORKSPACE_WRAPPER=$PWD/reliability/covered CARGO_INCREMENTAL=0 \
    cargo test --release --workspace --lib --test mutations --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
objects=()
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for program in "${programs[@]}"; do
    name=$(basename "$program")
    if [[ $name == scratchproof ]]; then
        for case in fixtures/cases/*/case.toml; do
            LLVM_PROFILE_FILE=$place/%m.profraw "$program" audit "$case" -o "$out/$(basename "$(dirname "$case")")" >&2 || true
        done
        objects+=(-object "$program")
        continue
    fi
    [[ $name == mutations-* || $name =~ ^scratchproof_(stats|facts|finding|case|checkpoint|record|source|attest|fingerprint|store|timeline|report)- ]] || continue
    room=${name#scratchproof_}
    room=crates/${room%-*}
    [[ -d $room ]] || room=.
    (cd "$room" && LLVM_PROFILE_FILE=$place/%m.profraw SCRATCHPROOF_ROUNDS=${1:-5} "$program" --quiet) >&2 || true
    objects+=(-object "$program")
done
"$tools/llvm-profdata" merge --sparse "$place"/*.profraw -o "$place/all.profdata"
table=$("$tools/llvm-cov" export --format=lcov --instr-profile="$place/all.profdata" "${objects[@]}" \
    --ignore-filename-regex='/(registry|rustc)/' | python3 reliability/coverage.py .)
awk -v table="$table" '/^<!-- coverage -->$/ { print; print table; skip = 1; next }
    /^<!-- end of coverage -->$/ { skip = 0 } !skip' docs/reliability.md >docs/reliability.md.new
mv docs/reliability.md.new docs/reliability.md
