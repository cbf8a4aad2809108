#!/usr/bin/env bash
# The fault suites, file by file, with a table of how often each passed. Outside CI, which runs them all once.
#
#   npm run test:faults                  every file once
#   npm run test:faults -- 20 3          races 20 times, the rest 3 times: some hours
#   npm run test:faults -- 5 0 slot/     races 5 times, the rest not at all, of the files whose path contains this
#
# Each run has another seed. Output of runs that failed is kept in a folder named at the end.
set -uo pipefail
cd "$(dirname "$0")/../.."

races=${1:-1}
rest=${2:-1}
only=${3:-}

# Where the outcome depends on who comes first: kills, cuts, restarts, promotions, somebody else at our slot.
is_race() {
  case $(basename "$1") in
    baseline-kill.* | blocked.* | conflicts.* | crashes.* | cuts.* | failover.* | kill.* | lost* | moved-slot.*) ;;
    points.* | power-cut.* | promotion.* | publication.* | server-restart.* | server-stop* | silence.* | silent-host.*) ;;
    stopping.* | sync-rep.* | taken.* | waiting.*) ;;
    *) return 1 ;;
  esac
}

kept=$(mktemp -d "${TMPDIR:-/tmp}/firstlight-faults-XXXXXX")
failures=0
printf '%-52s %6s %7s %7s %9s\n' file runs passed failed seconds
while read -r file; do
  runs=$rest
  is_race "$file" && runs=$races
  passed=0
  began=$SECONDS
  for ((run = 1; run <= runs; run++)); do
    output="$kept/$(basename "$file").$run"
    if FIRSTLIGHT_TEST_SEED=$run npx vitest run "$file" >"$output" 2>&1 </dev/null; then
      passed=$((passed + 1))
      rm "$output"
    fi
  done
  failed=$((runs - passed))
  failures=$((failures + failed))
  printf '%-52s %6d %7d %7d %9d\n' "$file" "$runs" "$passed" "$failed" $((SECONDS - began))
done < <(find test/faults test/standby test/crash -name '*.test.ts' -path "*$only*" | sort)

if [ "$failures" -gt 0 ]; then
  echo "$failures runs failed; what they said: $kept"
  exit 1
fi
rmdir "$kept"
