#!/usr/bin/env bash
# Runs `weft check` as the inputs of the action say. They come in the environment and are only ever used as whole words.
set -euo pipefail

refuse() {
  echo "::error title=weft check::$1"
  echo "exit-code=2" >>"$GITHUB_OUTPUT"
  exit 2
}

arguments=(check --format github)

# What to compare with. A shallow clone does not have it yet.
base=$BASE
[ -n "$base" ] || base=$PULL_REQUEST_BASE
if [ -n "$base" ] && [ "$base" != none ]; then
  if ! git rev-parse --quiet --verify --end-of-options "$base^{commit}" >/dev/null; then
    case "$base" in
    -* | *[!A-Za-z0-9._/-]*) refuse "the input base is neither a commit of this clone nor the name of a branch" ;;
    esac
    git fetch --quiet --no-tags --depth=1 origin "${base#origin/}" || refuse "the base cannot be fetched"
    base=$(git rev-parse FETCH_HEAD)
  fi
  arguments+=("--base=$base")
fi

case "$FAIL_ON" in
error | never) ;;
warning) arguments+=(--deny-warnings) ;;
*) refuse "the input fail-on is none of error, warning and never" ;;
esac

while IFS= read -r level; do
  level=${level//[[:space:]]/}
  [ -z "$level" ] || arguments+=("--level=$level")
done <<<"$LEVELS"
[ -z "$BASELINE" ] || arguments+=("--baseline=$BASELINE")
[ -z "$SARIF" ] || arguments+=("--report=sarif=$SARIF")
[ -z "$JUNIT" ] || arguments+=("--report=junit=$JUNIT")
readable=$(mktemp)
trap 'rm -f "$readable"' EXIT
arguments+=("--report=human=$readable")

weft=${WEFT:-$RUNNER_TEMP/weft-check/release/weft}
code=0
"$weft" "${arguments[@]}" -- "$POLICY" || code=$?

if [ "$SUMMARY" = true ]; then
  # Indented, so that nothing in a document can end the block; cut to what a summary can hold.
  {
    echo '### weft check'
    echo
    head -c 500000 "$readable" | sed 's/^/    /'
    echo
  } >>"$GITHUB_STEP_SUMMARY"
fi

echo "exit-code=$code" >>"$GITHUB_OUTPUT"
if [ "$code" = 1 ] && [ "$FAIL_ON" = never ]; then
  exit 0
fi
exit "$code"
