{{/* The labels of all objects in this chart. Call with (dict "root" $ "component" "gateway"). */}}
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
{{ default (ternary "rehearsal-1" (printf "%sclaude-opus-5-5" (include "oplab.modelPrefix" .)) .Values.rehearsal.enabled) .Values.agentClass.model }}
{{- end }}

{{- define "oplab.summaryModelName" -}}
{{ default (ternary "rehearsal-1" (printf "%sclaude-haiku-5-5" (include "oplab.modelPrefix" .)) .Values.rehearsal.enabled) .Values.agentClass.summaryModel }}
{{- end }}

{{/* What Amazon Bedrock puts in front of the names of Claude models. */}}
{{- define "oplab.modelPrefix" -}}
{{ if eq .Values.model.provider "bedrock" }}anthropic.{{ end }}
{{- end }}

{{- define "oplab.modelBaseURL" -}}
{{ default (ternary (printf "http://oplab-rehearsal.%s.svc:8080" .Release.Namespace) (ternary "https://api.anthropic.com" "" (eq .Values.model.provider "anthropic")) .Values.rehearsal.enabled) .Values.model.baseURL }}
{{- end }}

{{/* Where the model is, in words. */}}
{{- define "oplab.modelPlace" -}}
{{- if include "oplab.modelBaseURL" . }}at {{ include "oplab.modelBaseURL" . }}
{{- else }}in {{ ternary "Amazon Bedrock" "Google Vertex AI" (eq .Values.model.provider "bedrock") }}, region {{ .Values.model.region }}
{{- end }}
{{- end }}

{{- define "oplab.apiKeySecret" -}}
{{ default "oplab-model-key" .Values.model.apiKey.existingSecret }}
{{- end }}

{{/* The CAs of the chart's own certificates, which the controller renews, as {names: […]}. */}}
{{- define "oplab.renewedAuthorities" -}}
names:
{{- if not .Values.gateway.tls.existingSecret }}
  - gateway
{{- end }}
{{- if and (include "oplab.dockerSockets" . | fromYaml).names (not .Values.docker.socket.serverSecret) }}
  - docker
{{- end }}
{{- if and .Values.intake.routes (not .Values.intake.plainHTTP) (not .Values.intake.tlsSecret) }}
  - intake
{{- end }}
{{- end }}

{{- define "oplab.canaryHost" -}}
{{ printf "%s.%s.svc" .Values.tripwires.hostName .Release.Namespace }}
{{- end }}

{{/* Settings that the controller and the gateway share, so that both know the same canaries. */}}
{{- define "oplab.tripwireEnvironment" -}}
- {name: OPLAB_TRIPWIRE_KEY_FILE, value: /etc/oplab/tripwires/key}
- {name: OPLAB_CANARY_SECRET, value: {{ .Values.tripwires.secretName }}}
- {name: OPLAB_CANARY_HOST, value: {{ include "oplab.canaryHost" . }}}
{{- end }}

{{- define "oplab.tripwireVolume" -}}
- name: tripwires
  secret:
    secretName: {{ default "oplab-tripwires" .Values.tripwires.existingSecret }}
    defaultMode: 0440
    items: [{key: key, path: key}]
{{- end }}

{{/* The security context of every container in this chart. */}}
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

{{/*
Routes and receivers for the controller. It needs neither token nor urlFrom, because the kubelet mounts
what they name.
*/}}
{{- define "oplab.controllerConfig" -}}
{{- $routes := list }}
{{- range .Values.intake.routes }}{{ $routes = append $routes (omit . "token") }}{{ end }}
{{- $receivers := list }}
{{- range .Values.notifications }}{{ $receivers = append $receivers (omit . "urlFrom") }}{{ end -}}
routes.json: {{ dict "routes" $routes | toJson | quote }}
receivers.json: {{ $receivers | toJson | quote }}
{{- end }}

{{/* oplab's own namespaces, in which no agent may work, as a list that is valid in JSON and CEL. */}}
{{- define "oplab.ownNamespaces" -}}
{{ list .Release.Namespace .Values.agentsNamespace .Values.docker.socket.namespace | uniq | toJson }}
{{- end }}

{{/*
The rights that an author needs in each target namespace. Call with
(dict "root" $ "field" "spec.targetNamespaces").
There is one validation per target because of CEL cost limits: an authorizer check costs 350,000, an
expression may cost 1,000,000 and all expressions of a policy 10,000,000. The number of validations is
the field's maxItems; targets beyond it would go unchecked, so they are rejected.
*/}}
{{- define "oplab.targetValidations" -}}
{{- $most := 8 -}}
- expression: "variables.targets.size() <= {{ $most }}"
  messageExpression: "'{{ .field }}: must list at most {{ $most }} namespaces, not ' + string(variables.targets.size())"
- expression: "!variables.targets.exists(ns, ns in variables.own)"
  reason: Forbidden
  messageExpression: "'{{ .field }}: no agent may work in ' + variables.targets.filter(ns, ns in variables.own).join(', ') + (variables.targets.filter(ns, ns in variables.own).size() == 1 ? ', which belongs' : ', which belong') + ' to oplab: the model key, the audit log and the agents are there; name other namespaces'"
{{- range $at := until $most }}
- expression: "variables.targets.size() <= {{ $at }} || authorizer.group('oplab.dev').resource('incidents').namespace(variables.targets[{{ $at }}]).check('target').allowed()"
  reason: Forbidden
  messageExpression: "'{{ $.field }}: you may not target ' + variables.targets[{{ $at }}] + '; ask an administrator for the verb \"target\" on incidents.oplab.dev there (ClusterRole oplab-incident-author)'"
{{- end }}
{{- end }}
