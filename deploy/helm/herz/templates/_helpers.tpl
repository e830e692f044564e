{{- define "herz.name" -}}
{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- define "herz.account" -}}
{{ .Values.serviceAccount.name | default (include "herz.name" .) }}
{{- end }}
{{- define "herz.selector" -}}
app.kubernetes.io/name: herz
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "herz.labels" -}}
{{ include "herz.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
