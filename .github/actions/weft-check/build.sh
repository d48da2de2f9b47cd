#!/usr/bin/env bash
# Builds `weft` from the sources that this action came with. `key` says which sources those are, for the cache.
set -euo pipefail
sources=$(cd "$(dirname "$0")/../../.." && pwd)

case "${1:?key or build}" in
key)
  digest=$(cd "$sources" && find Cargo.toml Cargo.lock bundle compiler -type f -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum | sha256sum)
  echo "key=${digest%% *}" >>"$GITHUB_OUTPUT"
  ;;
build)
  cargo build --release --locked --package weft --bin weft \
    --manifest-path "$sources/Cargo.toml" --target-dir "$RUNNER_TEMP/weft-check"
  ;;
*)
  echo "build.sh: key or build" >&2
  exit 2
  ;;
esac
