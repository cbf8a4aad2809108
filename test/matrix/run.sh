#!/usr/bin/env bash
# The suites that depend on what a server of some version does, on servers of other versions than the newest, which `npm test` runs on.
#
#   npm run test:matrix                  13 to 17
#   npm run test:matrix -- 13 16         these
#
# Brings its servers by npm, as `npm install` brings that of the newest version; standbys from 16 on: older ones can not decode.
set -euo pipefail
cd "$(dirname "$0")/../.."

versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(13 14 15 16 17)

# Not `npm ci`: npm leaves the other platforms of aliased packages out of the lock file. Versions are exact.
npm install --prefix test/matrix --no-save --no-audit --no-fund

suites=(test/exact test/postgres/replication test/pipeline/reading test/pipeline/births test/harmless)
# Made in the words of newer servers: lists of columns, row filters, schemas in publications, the binary form. And 13 does not notice that a
# client is gone which waits for a snapshot.
from_15=(
  test/postgres/bursts test/postgres/publication test/verify/snapshot test/commands/setup test/commands/teardown
)
# A dump of a server needs a pg_dump that is not older than it: Debian has that of 15.
upto_15=(test/docs/major-upgrade)
from_16=(test/postgres/requirements test/standby/baseline)
# Slots that are synchronised.
from_17=(test/standby/failover)
for version in "${versions[@]}"; do
  printf '\n== Postgres %s\n' "$version"
  chosen=("${suites[@]}")
  if [ "$version" -le 15 ]; then chosen+=("${upto_15[@]}"); fi
  if [ "$version" -ge 15 ]; then chosen+=("${from_15[@]}"); fi
  if [ "$version" -ge 16 ]; then chosen+=("${from_16[@]}"); fi
  if [ "$version" -ge 17 ]; then chosen+=("${from_17[@]}"); fi
  FIRSTLIGHT_TEST_POSTGRES="$version" FIRSTLIGHT_TEST_SEEDS="${FIRSTLIGHT_TEST_SEEDS:-6}" \
    npx vitest run --project pg "${chosen[@]}"
done
