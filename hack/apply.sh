#!/usr/bin/env bash
#
# Applies the manifests on stdin, server-side. Where another manager owns fields that would
# change, it says whose they can be and what to do, and fails.
#
# KUBECTL names the kubectl to use, with its options. FORCE_CONFLICTS=true takes the fields.

set -euo pipefail

read -ra kubectl <<<"${KUBECTL:-kubectl}"
flags=(--server-side)
if [[ ${FORCE_CONFLICTS:-} == true ]]; then
	flags+=(--force-conflicts)
fi

exec 3>&1
failed=0
complaint=$("${kubectl[@]}" apply "${flags[@]}" -f - 2>&1 >&3) || failed=1
if [[ -n $complaint ]]; then
	printf '%s\n' "$complaint" >&2
fi
if ((failed)) && grep -qi 'conflict' <<<"$complaint"; then
	cat >&2 <<'EXPLANATION'

Another manager owns fields that this version changes, so these objects were left as they were.
What to do depends on the manager that the messages above name:
- kubectl-client-side-apply, or a tool that does not apply these objects any more: take them
  over. Run the same command with FORCE_CONFLICTS=true.
- catalog, olm or helm: OLM or Helm installed the operator, and would put its own back. Uninstall
  it there first; the CRDs, bindings and plugins stay. Then run the same command with
  FORCE_CONFLICTS=true.
docs/operations.md#moving-from-one-way-of-installing-to-another has the steps.
EXPLANATION
fi
exit "$failed"
