{{- define "operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 36 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 36 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Names are cut so that the longest, that of the metrics' Service, is a DNS label. */}}
{{- define "operator.manager" -}}
{{ include "operator.fullname" . }}-controller-manager
{{- end -}}

{{- define "operator.metricsService" -}}
{{ include "operator.fullname" . | trunc 28 | trimSuffix "-" }}-controller-manager-metrics-service
{{- end -}}

{{- define "operator.webhook" -}}
{{ include "operator.fullname" . }}-webhook
{{- end -}}

{{/* Whether the operator keeps the certificate of its webhooks itself. */}}
{{- define "operator.keepsCertificate" -}}
{{- if and .Values.webhooks.enabled (not .Values.webhooks.certificateSecret) -}}true{{- end -}}
{{- end -}}

{{- define "operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "operator.manager" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed, since serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default (printf "v%s" .Chart.AppVersion) .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "operator.labels" -}}
app.kubernetes.io/name: kong-plugin-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "operator.selectorLabels" -}}
control-plane: controller-manager
app.kubernetes.io/name: kong-plugin-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Whom the operator's rights are given to. */}}
{{- define "operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/*
The rules of the generated role by where they can be given: "namespaces" is the one resource
of it that does not live in a namespace. Takes a dict of root and inNamespace.
*/}}
{{- define "operator.managerRules" -}}
{{- $rules := list -}}
{{- range (.root.Files.Get "files/role.yaml" | fromYaml).rules -}}
{{- $resources := without .resources "namespaces" -}}
{{- if not $.inNamespace -}}
{{- $resources = has "namespaces" .resources | ternary (list "namespaces") list -}}
{{- end -}}
{{- if $resources -}}
{{- $rules = append $rules (set (deepCopy .) "resources" $resources) -}}
{{- end -}}
{{- end -}}
{{- toYaml $rules -}}
{{- end -}}
