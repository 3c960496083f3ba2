#!/bin/sh
# Configures and builds the native add-on into build/elanus.node; quick when nothing changed.
set -eu
cd "$(dirname "$0")/.."
dir=build/native
jobs=${ELANUS_BUILD_JOBS:-2}
if [ ! -f "$dir/CMakeCache.txt" ]; then
  if command -v ninja >/dev/null 2>&1; then set -- -G Ninja; else set --; fi
  mkdir -p "$dir"
  cmake -S native -B "$dir" "$@" >"$dir/configure.log" 2>&1 || {
    cat "$dir/configure.log" >&2
    rm -f "$dir/CMakeCache.txt"
    echo 'build-native: cmake failed; needed are a C++20 compiler, libfaiss-dev (1.7.3 or newer), a BLAS and OpenMP' >&2
    exit 1
  }
fi
# One build at a time: several test runners may call this at once.
if command -v flock >/dev/null 2>&1; then
  exec flock "$dir/.lock" cmake --build "$dir" -j "$jobs"
fi
exec cmake --build "$dir" -j "$jobs"
