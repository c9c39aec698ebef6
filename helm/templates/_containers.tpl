{{- define "warranty.argued" -}}
{{- if eq .name "gateway" }}
{{- if not .root.Values.gateway.image.digest }}
checkov.io/skip1: CKV_K8S_43=By tag only where whoever installs chose to; gateway.image.digest names it for good
{{- end }}
{{- else -}}
checkov.io/skip1: CKV_K8S_35=The process reads the address of its database from the environment alone, and never shows it
{{- if not .root.Values.image.digest }}
checkov.io/skip2: CKV_K8S_43=By tag only where whoever installs chose to; image.digest names it for good
{{- end }}
{{- end }}
{{- end -}}

{{- define "warranty.binaryContainer" -}}
{{- $v := .root.Values -}}
image: {{ include "warranty.image" (dict "repository" $v.image.repository "tag" (default .root.Chart.AppVersion $v.image.tag) "digest" $v.image.digest) }}
imagePullPolicy: Always
args: [{{ .name }}]
ports:
  - { name: grpc, containerPort: 7051 }
  {{- if ne .name "ratelimit" }}
  - { name: admin, containerPort: 7054 }
  {{- end }}
env:
  - { name: WARRANTY_LISTEN, value: "0.0.0.0:7051" }
  {{- if eq .name "ratelimit" }}
  {{- with $v.gateway.limits }}
  - { name: WARRANTY_LIMITS, value: {{ join "," . | quote }} }
  {{- end }}
  {{- else }}
  - { name: WARRANTY_ADMIN_LISTEN, value: "0.0.0.0:7054" }
  - { name: WARRANTY_JWKS, value: {{ $v.auth.jwks | quote }} }
  - { name: WARRANTY_ISSUER, value: {{ $v.auth.issuer | quote }} }
  - { name: WARRANTY_AUDIENCE, value: {{ $v.auth.audience | quote }} }
  - { name: WARRANTY_POOL_SIZE, value: {{ .of.poolSize | quote }} }
  - { name: WARRANTY_LAME_DUCK, value: "{{ $v.lameDuckSeconds }}s" }
  - { name: WARRANTY_DRAIN, value: "{{ $v.drainSeconds }}s" }
  - { name: WARRANTY_REFLECTION, value: "false" }
  {{- end }}
  - { name: WARRANTY_LOG, value: {{ $v.telemetry.log | quote }} }
  - { name: WARRANTY_TRACE_RATIO, value: {{ $v.telemetry.traceRatio | quote }} }
  {{- if $v.telemetry.otlpEndpoint }}
  - { name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ $v.telemetry.otlpEndpoint | quote }} }
  {{- end }}
  {{- if and $v.allowedOrigins (ne .name "ratelimit") }}
  - { name: WARRANTY_ALLOWED_ORIGINS, value: {{ join "," $v.allowedOrigins | quote }} }
  {{- end }}
  {{- if eq .name "claim" }}
  - { name: WARRANTY_EVIDENCE, value: {{ default "/evidence" $v.evidence.url | quote }} }
  {{- end }}
  {{- include "warranty.database" . | trim | nindent 2 }}
{{- if and (eq .name "claim") $v.evidence.secret }}
envFrom:
  - secretRef: { name: {{ $v.evidence.secret }} }
{{- end }}
{{- if and (eq .name "claim") $v.evidence.existingClaim }}
volumeMounts:
  - { name: evidence, mountPath: /evidence }
{{- end }}
{{- if eq .name "ratelimit" }}
# It has no admin port, and lets calls pass while its database is away.
livenessProbe: { grpc: { port: 7051 }, periodSeconds: 10, timeoutSeconds: 2, failureThreshold: 3 }
readinessProbe: { grpc: { port: 7051 }, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 2 }
{{- else }}
# The first start may wait for its database; the process itself answers at once.
startupProbe: { httpGet: { path: /livez, port: admin }, periodSeconds: 1, failureThreshold: 60 }
livenessProbe: { httpGet: { path: /livez, port: admin }, periodSeconds: 10, timeoutSeconds: 2, failureThreshold: 3 }
readinessProbe: { httpGet: { path: /readyz, port: admin }, periodSeconds: 2, timeoutSeconds: 4, failureThreshold: 2 }
{{- end }}
{{- end -}}

{{- define "warranty.envoyContainer" -}}
{{- $v := .root.Values -}}
image: {{ include "warranty.image" $v.gateway.image }}
imagePullPolicy: Always
command: [envoy]
args: [-c, /etc/envoy/envoy.yaml, --log-level, warning, --drain-time-s, {{ $v.drainSeconds | quote }}, --drain-strategy, immediate]
ports:
  - { name: https, containerPort: 8443 }
  - { name: admin, containerPort: 9902 }
volumeMounts:
  - { name: config, mountPath: /etc/envoy, readOnly: true }
  - { name: contracts, mountPath: /etc/contracts, readOnly: true }
  - { name: tls, mountPath: /etc/gateway-tls, readOnly: true }
  {{- if $v.gateway.page }}
  - { name: page, mountPath: /etc/page, readOnly: true }
  {{- end }}
livenessProbe: { httpGet: { path: /ready, port: admin }, periodSeconds: 10, timeoutSeconds: 2, failureThreshold: 3 }
readinessProbe: { httpGet: { path: /ready, port: admin }, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 2 }
# Envoy ends at once when told to end: before that it closes its connections, each after what is in flight on it.
lifecycle:
  preStop:
    exec:
      command:
        - bash
        - -c
        - |
          exec 3<>/dev/tcp/127.0.0.1/9901
          printf 'POST /drain_listeners?graceful&skip_exit HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n' >&3
          sleep {{ add $v.lameDuckSeconds $v.drainSeconds }}
{{- end -}}

{{/* What varies in files/envoy.yaml, whose head says what each is. */}}
{{- define "warranty.envoy" -}}
{{- $jwks := urlParse .Values.auth.jwks -}}
{{- $otlp := default "http://127.0.0.1:4317" .Values.telemetry.otlpEndpoint -}}
{{- $origins := list -}}
{{- range .Values.allowedOrigins }}{{ $origins = append $origins (regexQuoteMeta . | replace `\` `\\`) }}{{ end -}}
{{- $it := dict "Template" .Template "listen" "0.0.0.0" "operations_listen" "0.0.0.0" "port" "8443" "admin_port" "9901" "operations_port" "9902"
    "secret" "/etc/envoy/certificate.yaml" "page" "/etc/page" "descriptors" "/etc/contracts/contract.binpb"
    "issuer" .Values.auth.issuer "audience" .Values.auth.audience "jwks_url" .Values.auth.jwks "jwks_scheme" $jwks.scheme
    "jwks_host" (first (splitList ":" $jwks.host)) "jwks_port" (include "warranty.port" .Values.auth.jwks)
    "origins" (default "none" (join "|" $origins)) "rate" (toString .Values.gateway.rate) "burst" (toString .Values.gateway.burst)
    "trace_percent" (toString (ternary (mulf 100 .Values.telemetry.traceRatio) 0 (ne .Values.telemetry.otlpEndpoint "")))
    "otlp_host" (first (splitList ":" (urlParse $otlp).host)) "otlp_port" (include "warranty.port" $otlp) -}}
{{- range list "coverage" "claim" "logistics" "ratelimit" -}}
{{- $_ := set $it (printf "%s_host" .) (printf "%s-%s" $.Release.Name .) -}}
{{- $_ := set $it (printf "%s_port" .) "7051" -}}
{{- end -}}
{{ tpl (.Files.Get "files/envoy.yaml") $it }}
{{- end -}}

{{/* The port of a URL. */}}
{{- define "warranty.port" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{- define "warranty.toDatabase" -}}
{{- if eq .Values.database.mode "cluster" -}}
to: [{ podSelector: { matchLabels: { cnpg.io/cluster: {{ .Release.Name }}-database } } }]
{{- else if .Values.network.databaseCidrs -}}
to:
  {{- range .Values.network.databaseCidrs }}
  - { ipBlock: { cidr: {{ . }} } }
  {{- end }}
{{- end -}}
{{- end -}}
