#!/usr/bin/env bash
# Tries the chart's roles and policies as their users. KUBECONFIG names a cluster that may be changed, whose user may impersonate; HELM and
# KUBECTL the programs. Ends with 1 when an answer is not the expected one.
set -euo pipefail
cd "$(dirname "$0")"
helm=${HELM:-helm} kubectl=${KUBECTL:-kubectl} system=roomkeeper-system namespace=contoso failed=0
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
for name in $system $namespace; do
  "$kubectl" get namespace $name >/dev/null 2>&1 || "$kubectl" create namespace $name >/dev/null
done
cat >"$folder/values.yaml" <<'YAML'
publicUrl: https://roomkeeper.contoso.example
scopes: [{namespace: contoso, graphSecrets: [contoso-graph], bookingSecrets: [contoso-booking]}]
rbac:
  bindings:
  - {role: support, namespace: contoso, groups: [support]}
  - {role: edit, namespace: contoso, groups: [editors]}
  - {role: view, namespace: contoso, groups: [editors]}
  - {role: scope-admin, namespace: contoso, groups: [scopes]}
  - {role: auditor, namespace: contoso, groups: [auditors]}
YAML
"$helm" upgrade --install roomkeeper ../../charts/roomkeeper -n $system -f "$folder/values.yaml" >/dev/null
# Policies are in force a moment after they are made.
sleep 3

as() { # who: arguments of kubectl that impersonate
  case $1 in
    operator | webhook) echo "--as=system:serviceaccount:$system:roomkeeper-$1 --as-group=system:serviceaccounts --as-group=system:authenticated" ;;
    namespaces) echo "--as=system:serviceaccount:kube-system:namespace-controller --as-group=system:masters" ;;
    broken-glass) echo "--as=$1 --as-group=system:masters --as-group=roomkeeper:break-glass" ;;
    admin) echo "--as=$1 --as-group=system:masters" ;;
    *) echo "--as=jane --as-group=$1 --as-group=system:authenticated" ;;
  esac
}
try() { # yes|no, what a refusal says, who, arguments of kubectl
  local expected=$1 says=$2 who=$3 answer got=yes
  shift 3
  # shellcheck disable=SC2046
  answer=$("$kubectl" -n $namespace $(as "$who") "$@" 2>&1) || got=no
  if [ $got != "$expected" ] || { [ $got = no ] && ! grep -qF -- "$says" <<<"$answer"; }; then
    echo "FAILED: $who $*: $got, not $expected ($says): $answer" >&2
    failed=1
  fi
}

consent() { # name, withdrawn
  cat >"$folder/$1.yaml" <<YAML
apiVersion: roomkeeper.dev/v1alpha1
kind: ConsentRecord
metadata: {name: $1, namespace: $namespace}
spec:
  scope: {name: contoso, uid: 7f1d0cb7-93b9-405a-8dad-c21703b7af18, tenantId: 7f1d0cb7-93b9-405a-8dad-c21703b7af18, clientId: 9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11}
  user: {id: 7f1d0cb7-93b9-405a-8dad-c21703b7af18, principalName: user1@contoso.example}
  granted: {at: "2026-11-01T00:00:00Z", method: AddIn, noticeVersion: "1"}
YAML
}
withdrawal() { echo "{\"spec\":{\"withdrawn\":{\"at\":\"2026-11-02T00:00:00Z\",\"by\":\"$1\",\"reason\":\"T-1\"}}}"; }
now='{"metadata":{"annotations":{"roomkeeper.dev/reconcile-requested-at":"1"}}}'
consent one && consent two && consent three
for kind in consentrecords calendarsubscriptions accessscopes; do
  # shellcheck disable=SC2046
  "$kubectl" -n $namespace $(as broken-glass) delete $kind --all >/dev/null 2>&1
done

try no "only the webhook server creates ConsentRecords" admin create -f "$folder/one.yaml"
try no "cannot create" operator create -f "$folder/one.yaml"
try no "cannot create" support create -f "$folder/one.yaml"
for name in one two; do try yes "" webhook create -f "$folder/$name.yaml"; done
try yes "" broken-glass create -f "$folder/three.yaml"
try no "of a ConsentRecord only spec.withdrawn" support patch consent one --type=merge -p "$(withdrawal somebody)"
try no "is append-only" support patch consent one --type=merge -p '{"spec":{"user":{"principalName":"x"}}}'
try no "stay as they are" support patch consent one --type=merge -p '{"metadata":{"finalizers":["a.b/c"]}}'
try no "stay as they are" support patch consent one --type=merge -p '{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"a","uid":"b"}]}}'
try no "stay as they are" support patch consent one --type=merge -p '{"metadata":{"labels":{"a":"b"}}}'
try yes "" support patch consent one --type=merge -p "$(withdrawal jane)"
try no "" support patch consent one --type=merge -p '{"spec":{"withdrawn":null}}'
try yes "" operator patch consent two --type=merge -p "$(withdrawal "system:serviceaccount:$system:roomkeeper-operator")"
try no "cannot patch" webhook patch consent two --type=merge -p "$now"
try no "status is what the operator" admin patch consent two --subresource=status --type=merge -p '{"status":{"subscription":"a"}}'
try yes "" operator patch consent two --subresource=status --type=merge -p '{"status":{"subscription":"a"}}'
try no "cannot delete" support delete consent two
try no "the register keeps" admin delete consent two
try no "cannot list" editors get consentrecords
try yes "" auditors get consentrecords
try no "cannot patch" auditors patch consent one --type=merge -p "$now"

try no "cannot create" editors create -f ../../docs/examples/03-access-scope.yaml
try yes "" scopes create -f ../../docs/examples/03-access-scope.yaml
try yes "" editors create -f ../../docs/examples/04-calendar-subscription.yaml
try yes "" editors patch calsub user2 --type=merge -p '{"spec":{"suspend":true},"metadata":{"labels":{"a":"b"}}}'
for kind in "calsub user2" "ascope contoso"; do
  suspend=$([ "$kind" = "calsub user2" ] && echo false || echo true)
  # shellcheck disable=SC2086
  {
    try yes "" support patch $kind --type=merge -p "$now"
    try no "without the right to update" support patch $kind --type=merge -p "{\"spec\":{\"suspend\":$suspend}}"
    try no "without the right to update" support patch $kind --type=merge -p '{"metadata":{"annotations":{"roomkeeper.dev/force-delete":"true"}}}'
    try no "without the right to update" support patch $kind --type=merge -p '{"metadata":{"finalizers":["a.b/c"]}}'
    try no "cannot delete" support delete $kind
    try yes "" operator patch $kind --type=merge -p '{"metadata":{"finalizers":["roomkeeper.dev/graph-subscription"]}}'
    try no "not to the operator" operator patch $kind --type=merge -p '{"metadata":{"annotations":{"a":"b"}}}'
    try no "not to the operator" operator patch $kind --type=merge -p "{\"spec\":{\"suspend\":$suspend}}"
    try no "status is what the operator" admin patch $kind --subresource=status --type=merge -p '{"status":{"observedGeneration":1}}'
    try yes "" operator patch $kind --subresource=status --type=merge -p '{"status":{"observedGeneration":1}}'
    try yes "" namespaces patch $kind --type=merge -p '{"metadata":{"finalizers":null}}'
  }
done
# kubectl reads a subresource before it patches it; the webhook server does not.
"$kubectl" apply -f - >/dev/null <<YAML
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: status-reader, namespace: $namespace}
rules: [{apiGroups: [roomkeeper.dev], resources: [calendarsubscriptions/status, accessscopes/status], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: status-reader, namespace: $namespace}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: status-reader}
subjects: [{kind: ServiceAccount, name: roomkeeper-webhook, namespace: $system}]
YAML
try yes "" webhook patch calsub user2 --subresource=status --type=merge -p '{"status":{"delivery":{"state":"Receiving"}}}'
try no "writes delivery alone" webhook patch calsub user2 --subresource=status --type=merge -p '{"status":{"observedGeneration":7}}'
try no "cannot patch" webhook patch ascope contoso --subresource=status --type=merge -p '{"status":{"observedGeneration":7}}'
try no "cannot get" webhook get secret another
try no "cannot create" support create token default

# What ends a namespace is never held up, and a restore neither.
try yes "" namespaces delete consent one --wait=false
try yes "" broken-glass delete consent three --wait=false
try yes "" broken-glass create -f "$folder/three.yaml"
[ $failed = 0 ] && echo "roles and policies: ok"
exit $failed
