{{/* Name of the operator's objects: the release's name, with -operator where it does not say wsfleet. */}}
{{- define "wsfleet.name" -}}
{{- if contains "wsfleet" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-wsfleet" (.Release.Name | trunc 45 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "wsfleet.operatorName" -}}{{ include "wsfleet.name" . }}-operator{{- end -}}

{{- define "wsfleet.natsName" -}}{{ include "wsfleet.name" . }}-nats{{- end -}}

{{- define "wsfleet.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "wsfleet.operatorName" .) -}}
{{- end -}}

{{/* Labels that select pods; they never change. */}}
{{- define "wsfleet.operatorSelector" -}}
app.kubernetes.io/name: wsfleet-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "wsfleet.natsSelector" -}}
app.kubernetes.io/name: wsfleet-nats
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The other labels. */}}
{{- define "wsfleet.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: wsfleet
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What the operator does in each namespace whose fleets it runs: these verbs and no others. */}}
{{- define "wsfleet.rules" -}}
- apiGroups: [wsfleet.io]
  resources: [wsfleets]
  verbs: [get, list, watch]
- apiGroups: [wsfleet.io]
  resources: [wsfleets/status]
  verbs: [patch]
# Where owner references are enforced, setting blockOwnerDeletion asks for this; there are no finalizers.
- apiGroups: [wsfleet.io]
  resources: [wsfleets/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [replicasets/scale]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch]
# Never listed: the operator sees only Secrets whose name it knows.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors, prometheusrules]
  verbs: [get, list, watch, create, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- if .Values.rbac.podsProxy }}
- apiGroups: [""]
  resources: [pods/proxy]
  verbs: [get, update, delete]
{{- end }}
{{- end -}}


{{/* The NATS server's configuration: a tenth of the volume is left for what the store needs beside messages. */}}
{{- define "wsfleet.natsConfig" -}}
{{- $size := .Values.nats.storage.size -}}
{{- $number := regexFind "[0-9]+" $size | int64 -}}
{{- $factor := get (dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) (regexFind "[MGT]i" $size) | int64 -}}
server_name: {{ include "wsfleet.natsName" . }}
port: 4222
http_port: 8222
jetstream {
  store_dir: /data
  max_memory_store: 67108864
  max_file_store: {{ div (mul $number $factor 9) 10 }}
}
{{- end -}}
