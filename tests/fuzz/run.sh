#!/usr/bin/env bash
# Fuzzes every target for its share of SECONDS, from the stored seeds and from what earlier runs found worth keeping.
#   tests/fuzz/run.sh SECONDS [TARGET...]
# Builds with the fuzzer's counters on the stable toolchain; cargo-fuzz is not needed. A find ends the run with an error and
# lies in tests/fuzz/artifacts/TARGET/. See README.md for longer runs.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:?usage: run.sh SECONDS [TARGET...]}
shift
host=$(rustc -vV | sed -n 's/^host: //p')

# What cargo-fuzz passes, without a sanitizer: this crate and most of what it uses are safe Rust, and sanitizers are not
# stable. Overflows and debug assertions are checked.
export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Coverflow-checks -Cpasses=sancov-module
 -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
 -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
export RUSTFLAGS=${RUSTFLAGS//$'\n'/}
cargo build --locked --quiet --release --target "$host"
programs=target/$host/release

# The seeds are laid out anew by the programs; those of another day may be gone.
rm -f corpus/*/seed-*

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd fuzz_targets && ls ./*.rs | sed 's|^./||; s|\.rs$||')

at_a_time=$(nproc)
rounds=$(((${#targets[@]} + at_a_time - 1) / at_a_time))
each=$((seconds / rounds > 0 ? seconds / rounds : 1))
echo "${#targets[@]} targets, $at_a_time at a time, $each s each"

one() { # fuzzes one target; what it says is shown when it finds something
  local target=$1 log
  mkdir -p "artifacts/$target" "corpus/$target"
  log=artifacts/$target/log
  if "$programs/$target" "corpus/$target" -max_total_time="$each" -artifact_prefix="artifacts/$target/" -dict=dictionary \
    -max_len=16384 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1 >"$log" 2>&1; then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
  else
    echo "$target: A FIND, see tests/fuzz/artifacts/$target"
    tail -n 40 "$log"
    return 1
  fi
}
export -f one
export programs each
printf '%s\n' "${targets[@]}" | xargs -P "$at_a_time" -I{} bash -c 'one {}'
