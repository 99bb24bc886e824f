{{/* Labels of everything in this chart; call with (dict "root" $ "component" "gateway"). */}}
{{- define "oplab.labels" -}}
app.kubernetes.io/name: oplab
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "oplab.selector" -}}
app.kubernetes.io/name: oplab
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "oplab.image" -}}
{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}

{{- define "oplab.sandboxImage" -}}
{{ printf "%s:%s" .Values.sandboxImage.repository (default .Chart.AppVersion .Values.sandboxImage.tag) }}
{{- end }}

{{- define "oplab.modelName" -}}
{{ default (ternary "rehearsal-1" "claude-opus-5-5" .Values.rehearsal.enabled) .Values.agentClass.model }}
{{- end }}

{{- define "oplab.summaryModelName" -}}
{{ default (ternary "rehearsal-1" "claude-haiku-5-5" .Values.rehearsal.enabled) .Values.agentClass.summaryModel }}
{{- end }}

{{- define "oplab.modelBaseURL" -}}
{{ default (ternary (printf "http://oplab-rehearsal.%s.svc:8080" .Release.Namespace) "https://api.anthropic.com" .Values.rehearsal.enabled) .Values.model.baseURL }}
{{- end }}

{{- define "oplab.apiKeySecret" -}}
{{ default "oplab-model-key" .Values.model.apiKey.existingSecret }}
{{- end }}

{{/* The pod security that every container of ours runs with. */}}
{{- define "oplab.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "oplab.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Routes and receivers, as the controller reads them; where the URLs come from is the kubelet's affair. */}}
{{- define "oplab.controllerConfig" -}}
{{- $receivers := list }}
{{- range .Values.notifications }}{{ $receivers = append $receivers (omit . "urlFrom") }}{{ end -}}
routes.json: {{ dict "routes" .Values.intake.routes | toJson | quote }}
receivers.json: {{ $receivers | toJson | quote }}
{{- end }}
