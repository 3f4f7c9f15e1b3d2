{{/* Name of everything in the release's namespace, and of the cluster-wide roles. */}}
{{- define "reindex-operator.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "reindex-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "reindex-operator.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "reindex-operator.selectorLabels" -}}
app.kubernetes.io/name: reindex-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "reindex-operator.labels" -}}
{{ include "reindex-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/*
A role of the operator and its binding: one for the cluster, or one in each of `namespaces`.
Takes `root`, the text of `rules`, the `namespaces`, and what they are `for`, which is left out for what every installation needs in the cluster.
*/}}
{{- define "reindex-operator.roles" -}}
{{- $root := .root }}
{{- $rules := .rules }}
{{- $fullname := include "reindex-operator.fullname" $root }}
{{- $kind := ternary "Role" "ClusterRole" (not (empty .namespaces)) }}
{{- $name := ternary $fullname (printf "%s-%s" $fullname .for) (empty .for) }}
{{- range .namespaces | default (list "") | uniq }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "reindex-operator.labels" $root | nindent 4 }}
rules:
{{ $rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "reindex-operator.labels" $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
- kind: ServiceAccount
  name: {{ include "reindex-operator.serviceAccountName" $root }}
  namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end }}

{{/* Labels by which a NetworkPolicy finds the pod that winds the operator down; none of the operator's own pods has them. */}}
{{- define "reindex-operator.windDownLabels" -}}
app.kubernetes.io/name: reindex-operator-wind-down
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The operator's image. */}}
{{- define "reindex-operator.image" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* Where a pod runs, and as whom. */}}
{{- define "reindex-operator.podSpec" -}}
serviceAccountName: {{ include "reindex-operator.serviceAccountName" . }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where its objects are, for a container of the operator. */}}
{{- define "reindex-operator.placeEnv" -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- with .Values.watchNamespaces }}
- name: WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}

{{/* What a container may do, and use. */}}
{{- define "reindex-operator.containerLimits" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
