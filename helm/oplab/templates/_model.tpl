{{/* The ways to prove who asks, for each provider; the first is the default. */}}
{{- define "oplab.modelAuths" -}}
anthropic: [x-api-key, bearer]
bedrock: [workload-identity, access-key, bearer]
vertex: [workload-identity, credentials-file]
{{- end }}

{{- define "oplab.modelAuth" -}}
{{- default (index (include "oplab.modelAuths" . | fromYaml) .Values.model.provider | first) .Values.model.auth -}}
{{- end }}

{{/* Refuses values of `model` that cannot work together. */}}
{{- define "oplab.checkModel" -}}
{{- $model := .Values.model }}
{{- $provider := $model.provider }}
{{- $auth := include "oplab.modelAuth" . }}
{{- $auths := index (include "oplab.modelAuths" . | fromYaml) $provider }}
{{- if not (has $auth $auths) }}
{{- fail (printf "model.auth: %q is not a way to authenticate to provider %s; use %s" $auth $provider (join " or " $auths)) }}
{{- end }}
{{- $isRegional := has $provider (list "bedrock" "vertex") }}
{{- if and $isRegional (not $model.region) }}
{{- fail (printf "model.region: is empty, but provider %s needs one; set it, for example to %s" $provider (ternary "eu-west-1" "europe-west1" (eq $provider "bedrock"))) }}
{{- end }}
{{- if and $model.region (not $isRegional) }}
{{- fail (printf "model.region: %q is of no use to provider %s; leave it out, or set model.provider to bedrock or vertex" $model.region $provider) }}
{{- end }}
{{- if and (eq $provider "vertex") (not $model.project) }}
{{- fail "model.project: is empty, but provider vertex needs one; set it to the ID of the Google Cloud project" }}
{{- end }}
{{- if and $model.project (ne $provider "vertex") }}
{{- fail (printf "model.project: %q is of no use to provider %s; leave it out, or set model.provider to vertex" $model.project $provider) }}
{{- end }}
{{- if and $isRegional .Values.rehearsal.enabled }}
{{- fail (printf "model.provider: %q cannot be used with the rehearsal server; set rehearsal.enabled to false" $provider) }}
{{- end }}
{{- $isRole := and (eq $provider "bedrock") (eq $auth "workload-identity") }}
{{- range $field := list "roleARN" "stsURL" }}
{{- if and (index $model.aws $field) (not $isRole) }}
{{- fail (printf "model.aws.%s: %q is of no use with provider %s and auth %s; leave it out, or use bedrock with workload-identity" $field (index $model.aws $field) $provider $auth) }}
{{- end }}
{{- end }}
{{- if and $model.aws.roleARN (index .Values.gateway.serviceAccount.annotations "eks.amazonaws.com/role-arn") }}
{{- fail "model.aws.roleARN: the annotation eks.amazonaws.com/role-arn in gateway.serviceAccount.annotations says the same; leave out one of them" }}
{{- end }}
{{- if and $model.google.tokenAudience (ne $auth "credentials-file") }}
{{- fail (printf "model.google.tokenAudience: %q is of no use with provider %s and auth %s; leave it out, or use vertex with credentials-file" $model.google.tokenAudience $provider $auth) }}
{{- end }}
{{- if and (or $model.apiKey.value $model.apiKey.existingSecret) (eq $auth "workload-identity") }}
{{- fail (printf "model.apiKey: is of no use to provider %s with auth workload-identity; leave it out, or set model.auth to %s" $provider (rest $auths | join " or ")) }}
{{- end }}
{{- if and $model.apiKey.value (has $auth (list "access-key" "credentials-file")) }}
{{- fail (printf "model.apiKey.value: cannot hold what auth %s needs; name a Secret in model.apiKey.existingSecret" $auth) }}
{{- end }}
{{- end }}

{{/* The audience of the token that is mounted for the model's provider; empty without one. */}}
{{- define "oplab.modelAudience" -}}
{{- if .Values.model.aws.roleARN }}sts.amazonaws.com{{ else }}{{ .Values.model.google.tokenAudience }}{{ end }}
{{- end }}

{{- define "oplab.modelEnvironment" -}}
{{- $model := .Values.model }}
- {name: OPLAB_MODEL_PROVIDER, value: {{ $model.provider }}}
- {name: OPLAB_MODEL_AUTH, value: {{ include "oplab.modelAuth" . }}}
{{- with include "oplab.modelBaseURL" . }}
- {name: OPLAB_UPSTREAM_URL, value: {{ . | quote }}}
{{- end }}
- {name: OPLAB_MODEL_KEY_FILE, value: /etc/oplab/model/api-key}
- {name: OPLAB_MODEL_SECRET_DIR, value: /etc/oplab/model}
{{- with $model.region }}
- {name: OPLAB_MODEL_REGION, value: {{ . }}}
{{- end }}
{{- with $model.project }}
- {name: OPLAB_MODEL_PROJECT, value: {{ . | quote }}}
{{- end }}
- {name: OPLAB_PRICE_FACTOR, value: {{ $model.priceFactor | quote }}}
{{- with $model.aws.roleARN }}
- {name: AWS_ROLE_ARN, value: {{ . | quote }}}
- {name: AWS_WEB_IDENTITY_TOKEN_FILE, value: /var/run/oplab/identity/token}
{{- end }}
{{- with $model.aws.stsURL }}
- {name: AWS_ENDPOINT_URL_STS, value: {{ . | quote }}}
{{- end }}
{{- end }}

{{/* Where the node tells a pod its identity of the cloud, as entries of networkPolicy.egress. */}}
{{- define "oplab.modelNodeAddresses" -}}
addresses:
{{- if eq (include "oplab.modelAuth" .) "workload-identity" }}
{{- if eq .Values.model.provider "vertex" }}
  - {cidr: 169.254.169.254/32, ports: [80]}
  - {cidr: 169.254.169.252/32, ports: [988]}
{{- else if not .Values.model.aws.roleARN }}
  - {cidr: 169.254.170.23/32, ports: [80]}
  - {cidr: "fd00:ec2::23/128", ports: [80]}
{{- end }}
{{- end }}
{{- end }}
