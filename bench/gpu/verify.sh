#!/usr/bin/env bash
# What only a machine with a GPU can say about the kernels: bench/gpu/verify.sh [STAGE...]
#
#   build      the package with its kernels, into build/verify/site, with what is installed here (no network)
#   cpp        the C++ tests of the device (needs doctest, or the tests built already in build/cuda)
#   python     the Python tests, with the device as one more backend
#   sanitizer  compute-sanitizer on small shapes, after it has found a bug that was planted for it
#   bench      bench/gpu/bench_*.py
#
# Ends in one table and writes it, with the benches, to build/verify/verified.md (or to $VERIFY_OUT). Commit that
# file to bench/results/ as gpu_<date>.md: .ci/run reads in it which cuda/ was verified. Every stage is bounded by
# a timeout and a failure of one does not stop the others; the script fails if one of them failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
work=$root/build/verify
out=${VERIFY_OUT:-$work}
site=${WHIMBREL_SITE:-$work/site}
python=${PYTHON:-python3}
all_stages=(build cpp python sanitizer bench)
stages=("${@:-${all_stages[@]}}")
mkdir -p "$work" "$out"
export PYTHONPATH=$site PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
rows=()
failed=0

stage_build() {
  rm -rf "$site"
  WHIMBREL_CUDA=ON CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) timeout 180 "$python" -m pip install -q --no-index \
    --no-build-isolation --no-deps --target "$site" --config-settings=build-dir="$work/wheel" .
}

stage_cpp() {
  local tests=build/cuda/tests/cpp/whimbrel_tests
  if [[ ! -x $tests ]]; then
    timeout 180 cmake --preset cuda >/dev/null && timeout 180 cmake --build build/cuda -j "$(nproc)" || return 1
  fi
  timeout 90 "$tests" && ! timeout 90 "$tests" | grep -q "not run"
}

# The copy under tests/ only: the package that is tested is the installed one.
stage_python() {
  cd tests/python && timeout 150 "$python" -m pytest -q -p no:cacheprovider -c ../../pyproject.toml --rootdir . \
    -W ignore::DeprecationWarning -W ignore::FutureWarning \
    test_cuda.py test_cuda_sets.py test_cur_device.py test_exact.py test_lid.py test_pairwise.py ${PYTEST_ARGS:-}
}

stage_sanitizer() {
  local tool
  nvcc -std=c++20 -arch=native -o "$work/planted_bugs" bench/gpu/planted_bugs.cu || return 1
  for tool in memcheck racecheck; do
    if timeout 60 compute-sanitizer --tool $tool --error-exitcode 9 "$work/planted_bugs" $tool >/dev/null; then
      echo "$tool: the planted bug was not found"
      return 1
    fi
    timeout 90 compute-sanitizer --tool $tool --error-exitcode 9 "$python" bench/gpu/small_shapes.py || return 1
    echo "$tool: found the planted bug, and nothing in the kernels"
  done
}

stage_bench() {
  local bench
  for bench in bench/gpu/bench_*.py; do
    timeout 150 "$python" "$bench" ${BENCH_ARGS:-} || return 1
  done
}

# One line for the table: the last thing that the stage said, or that it failed.
run_stage() {
  local start=$SECONDS log=$out/$1.log result said
  ("stage_$1") >"$log" 2>&1 && result=passed || { result=FAILED; failed=1; }
  said=$(grep -v '^ *$' "$log" | tail -n 1 | cut -c 1-110 | tr '|' ' ')
  [[ $1 == bench ]] && said="see below"
  rows+=("| $1 | $result | $((SECONDS - start)) | $said |")
  printf '%s: %s (%d s)\n' "$1" "$result" $((SECONDS - start))
  [[ $result == passed ]] || tail -n 40 "$log" | cut -c 1-300
}

for stage in "${stages[@]}"; do run_stage "$stage"; done

{
  echo "# GPU verification"
  echo
  echo "- date: $(date -u +%Y-%m-%d)"
  echo "- GPU: $(nvidia-smi --query-gpu=name,memory.total --format=csv,noheader | head -n 1)"
  echo "- driver: $(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)"
  echo "- nvcc: $(nvcc --version | grep -o 'release [0-9.]*')"
  echo "- commit: ${VERIFY_COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}"
  echo "- cuda/: $("$python" tests/gates/cuda_tree.py)"
  echo
  echo "| stage | result | seconds | last line |"
  echo "| --- | --- | --- | --- |"
  printf '%s\n' "${rows[@]}"
  if [[ " ${stages[*]} " == *" bench "* ]]; then
    echo
    grep -E '^(\||$|[A-Z])' "$out/bench.log"
  fi
} | tee "$out/verified.md"
exit $failed
