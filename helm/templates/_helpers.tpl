{{- define "warranty.name" -}}
{{- printf "%s-%s" .root.Release.Name .name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "warranty.selector" -}}
app.kubernetes.io/name: warranty
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "warranty.labels" -}}
{{ include "warranty.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "warranty.metadata" -}}
name: {{ include "warranty.name" . }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "warranty.labels" . | nindent 2 }}
{{- end -}}

{{- define "warranty.image" -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end -}}
{{- end -}}

{{/* What a process holds beside its pool: coverage its readers, claim and logistics what hints to those who watch, claim the
clock's work and the watch. */}}
{{- define "warranty.connections" -}}
{{- $own := dict "coverage" (ternary 5 4 .replica) "claim" 3 "logistics" 1 "ratelimit" 0 -}}
{{- add .of.poolSize (get $own .name) -}}
{{- end -}}

{{/* The address of the database for a process or its owner, as environment. */}}
{{- define "warranty.database" -}}
{{- $database := .root.Values.database -}}
{{- if eq $database.mode "url" }}
{{- $secret := get $database.secrets .name }}
- name: DATABASE_URL
  valueFrom: { secretKeyRef: { name: {{ $secret.name }}, key: {{ $secret.key }} } }
{{- else if eq .name "owner" }}
- name: DATABASE_URL
  valueFrom: { secretKeyRef: { name: {{ .root.Release.Name }}-database-app, key: uri } }
{{- else }}
- name: DATABASE_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .root.Release.Name }}-login-{{ .name }}, key: password } }
- name: DATABASE_URL
  value: postgres://{{ .name }}_login:$(DATABASE_PASSWORD)@{{ .root.Release.Name }}-database-rw:5432/warranty?sslmode=require
{{- end }}
{{- if and $database.replica (eq .name "coverage") }}
- name: WARRANTY_REPLICA_URL
  {{- if eq $database.mode "url" }}
  valueFrom: { secretKeyRef: { name: {{ $database.secrets.replica.name }}, key: {{ $database.secrets.replica.key }} } }
  {{- else }}
  value: postgres://coverage_login:$(DATABASE_PASSWORD)@{{ .root.Release.Name }}-database-ro:5432/warranty?sslmode=require
  {{- end }}
{{- end }}
{{- end -}}

{{- define "warranty.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "warranty.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: { drop: [ALL] }
{{- end -}}
