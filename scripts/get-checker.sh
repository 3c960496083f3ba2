#!/usr/bin/env bash
# Builds the isolation checker that judges the histories of test/bank: the crate `adya`, without its database drivers (about a
# minute). It goes to build/tools, which is ignored: the checker is not part of Elanus.
set -eu
cd "$(dirname "$0")/.."
version=0.1.0
if [ -x build/tools/bin/adya ]; then exit 0; fi
command -v cargo >/dev/null || { echo 'cargo is not installed' >&2; exit 1; }
cargo install adya --version "$version" --locked --no-default-features --root build/tools
