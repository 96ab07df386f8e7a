{{- define "roomkeeper.labels" -}}
{{ include "roomkeeper.selector" . }}
app.kubernetes.io/part-of: roomkeeper
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "roomkeeper.selector" -}}
app.kubernetes.io/name: roomkeeper
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "roomkeeper.image" -}}
{{- $image := .settings.image -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end -}}
{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "roomkeeper.host" -}}
{{- (urlParse .Values.publicUrl).host }}
{{- end }}

{{- define "roomkeeper.ingest" -}}
{{- ternary "roomkeeper-ingest" "roomkeeper-webhook" .Values.webhook.split.enabled }}
{{- end }}

{{/* The pods that keep an audit, by name, under that of their workload and service account. A workload without pods is not in it: a rule
without a name grants every object of its kind. */}}
{{- define "roomkeeper.writers" -}}
{{- $webhook := .Values.webhook }}
{{- $replicas := dict "roomkeeper-operator" .Values.operator.replicas "roomkeeper-webhook" $webhook.replicas }}
{{- if $webhook.split.enabled }}
{{- $replicas = dict "roomkeeper-operator" .Values.operator.replicas
  "roomkeeper-ingest" $webhook.replicas "roomkeeper-webhook" $webhook.split.workerReplicas }}
{{- end }}
{{- range $workload, $count := $replicas }}
{{- if gt (int $count) 0 }}
{{ $workload }}:
{{- range $pod := until (int $count) }}
- {{ $workload }}-{{ $pod }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Subjects of an entry of rbac.bindings. */}}
{{- define "roomkeeper.subjects" -}}
{{- range .groups }}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: {{ quote . }}}
{{- end }}
{{- range .users }}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: {{ quote . }}}
{{- end }}
{{- range .serviceAccounts }}
- {kind: ServiceAccount, name: {{ .name }}, namespace: {{ .namespace }}}
{{- end }}
{{- end }}

{{/* What a pod of the profile "restricted" has to say, and where it may run. */}}
{{- define "roomkeeper.pod" -}}
{{- $settings := .settings -}}
serviceAccountName: {{ .serviceAccount }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $settings.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- with $settings.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $settings.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with $settings.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- if $settings.topologySpreadConstraints }}
{{ toYaml $settings.topologySpreadConstraints }}
{{- else }}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "roomkeeper.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "roomkeeper.container" -}}
image: {{ include "roomkeeper.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .settings.resources | nindent 2 }}
{{- with .settings.extraEnv }}
env: {{- toYaml . | nindent 0 }}
{{- end }}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end }}

{{- define "roomkeeper.claim" -}}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: {{ .name }}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .settings.storageClassName }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests: {storage: {{ .settings.size }}}
{{- end }}

{{/* Flags of both daemons. */}}
{{- define "roomkeeper.args" -}}
- --namespace={{ .root.Release.Namespace }}
- --audit-dir=/var/lib/roomkeeper/audit
{{- if .root.Values.audit.copies.enabled }}
{{- /* Pods have this loopback with IPv6 alone as well; port forwarding ends at it. */}}
- --audit-listen=127.0.0.1:9443
{{- end }}
- --admin-listen={{ .root.Values.listenAddress }}:9090
- --occurrence-horizon-days={{ .root.Values.occurrenceHorizonDays }}
{{- range .root.Values.watchNamespaces }}
- --watch-namespace={{ . }}
{{- end }}
{{- range .root.Values.allowedHosts }}
- --allowed-host={{ . }}
{{- end }}
{{- if .root.Values.trust.graph.configMap }}
- --graph-ca=/etc/roomkeeper/graph-ca/{{ .root.Values.trust.graph.key }}
{{- end }}
{{- end }}

{{/* Whoever writes past the policies: the namespace controller and the garbage collector, so that nothing hangs, and the break-glass group. */}}
{{- define "roomkeeper.exempt" -}}
- name: not-exempt
  expression: >-
    !(request.userInfo.username in [
    'system:kube-controller-manager',
    'system:serviceaccount:kube-system:namespace-controller',
    'system:serviceaccount:kube-system:generic-garbage-collector',
    'system:serviceaccount:kube-system:storage-version-migrator-controller'
    {{- range .Values.policies.breakGlass.users }}, '{{ . }}'{{ end }}])
    {{- with .Values.policies.breakGlass.groups }}
    && !request.userInfo.groups.exists(group, group in [{{ range $i, $group := . }}{{ if $i }}, {{ end }}'{{ $group }}'{{ end }}])
    {{- end }}
{{- end }}
