{{/*
The verification checks of this release: all of them must pass before a repair counts. Expected numbers
of stores, members and replicas are those of the release's values.
*/}}
{{- define "tikv.verifyChecks" -}}
{{- $full := include "tikv.fullname" . -}}
{{- $pd := printf "%s-pd" $full -}}
- name: stores
  http:
    service: {{ $pd }}
    port: 2379
    path: /pd/api/v1/stores
    # A correct repair may leave a Tombstone behind. PD reports Disconnected when a heartbeat is 20
    # s late.
    cel: >-
      status == 200
      && body.stores.filter(s, s.store.state_name == "Up").size() == {{ .Values.tikv.replicas }}
      && body.stores.all(s, s.store.state_name in ["Up", "Tombstone"])
- name: members
  http:
    service: {{ $pd }}
    port: 2379
    path: /pd/api/v1/members
    cel: status == 200 && has(body.leader) && has(body.leader.name) && body.members.size() == {{ .Values.pd.replicas }}
- name: members-healthy
  http:
    service: {{ $pd }}
    port: 2379
    path: /pd/api/v1/health
    cel: status == 200 && body.size() == {{ .Values.pd.replicas }} && body.all(m, m.health)
{{- /*
There is no check for offline peers: they are on stores that are not Up, and PD updates their count only
when a region changes, so it may be hours old.
*/}}
{{- range list "miss" "down" }}
- name: regions-{{ . }}
  http: {service: {{ $pd }}, port: 2379, path: /pd/api/v1/regions/check/{{ . }}-peer, cel: status == 200 && body.count == 0}
{{- end }}
- name: regions-pending
  {{- if .Values.prometheus.enabled }}
  # A peer that PD moves for balance is pending until its snapshot has arrived, which is healthy.
  # Only a peer that stays pending is a fault.
  {{- include "tikv.prometheusCheck" (dict "root" . "query" `max(min_over_time(pd_regions_status{type="pending-peer-region-count"}[30s])) > 0`) | nindent 2 }}
  {{- else }}
  http: {service: {{ $pd }}, port: 2379, path: /pd/api/v1/regions/check/pending-peer, cel: status == 200 && body.count == 0}
  {{- end }}
- name: schedulers
  {{- include "tikv.schedulersCheck" . | nindent 2 }}
- name: workloads
  {{- include "tikv.workloadsCheck" . | nindent 2 }}
{{- if .Values.load.enabled }}
- name: transaction
  http: {service: {{ $full }}-load, port: 8080, path: /probe, cel: status == 200 && body.ok}
- name: ledger
  # The ledger must be the same as before: a new one would not know which writes were lost.
  http: {service: {{ $full }}-load, port: 8080, path: /verdict, cel: status == 200 && body.ok && body.ledgerLost == 0 && (!has(baseline.body) || body.ledgerId == baseline.body.ledgerId)}
{{- end }}
{{- end }}

{{/* PD runs the schedulers it needs, and none that somebody left behind. */}}
{{- define "tikv.schedulersCheck" -}}
http:
  service: {{ include "tikv.fullname" . }}-pd
  port: 2379
  path: /pd/api/v1/schedulers
  # If PD cannot answer, the body is not a list, and the expression yields neither true nor false.
  cel: >-
    body.all(s, s in {{ toJson .Values.monitors.schedulers }})
    && ["balance-leader-scheduler", "balance-region-scheduler"].all(s, s in body)
{{- end }}

{{/*
Each StatefulSet specifies as many replicas as the release, and they are ready. Scaling down is not a
repair.
*/}}
{{- define "tikv.workloadsCheck" -}}
{{- $full := include "tikv.fullname" . -}}
{{- $wanted := dict (printf "%s-pd" $full) .Values.pd.replicas (printf "%s-tikv" $full) .Values.tikv.replicas -}}
{{- if .Values.load.enabled }}{{ $_ := set $wanted (printf "%s-load" $full) 1 }}{{ end -}}
kubernetes:
  apiVersion: apps/v1
  kind: StatefulSet
  labelSelector: app.kubernetes.io/instance={{ .Release.Name }}
  cel: >-
    {{- range $name, $replicas := $wanted }}
    objects.exists(o, o.metadata.name == {{ $name | quote }} && o.spec.replicas == {{ $replicas }}
    && has(o.status.readyReplicas) && o.status.readyReplicas == {{ $replicas }}) &&
    {{- end }}
    objects.size() > 0
{{- end }}

{{/*
A Monitor. Call with
(dict "root" $ "name" "severity" "forSeconds" "summary" "description" "groupBy" "check").
*/}}
{{- define "tikv.monitor" -}}
{{- $root := .root -}}
{{- $values := $root.Values.monitors -}}
---
apiVersion: oplab.dev/v1alpha1
kind: Monitor
metadata:
  name: {{ include "tikv.fullname" $root | trunc 31 | trimSuffix "-" }}-{{ .name }}
  labels: {{- include "tikv.labels" (dict "root" $root "component" "monitor") | nindent 4 }}
spec:
  severity: {{ .severity }}
  intervalSeconds: {{ $values.intervalSeconds }}
  forSeconds: {{ .forSeconds }}
  clearSeconds: {{ $values.clearSeconds }}
  {{- with $values.labels }}
  labels: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .groupBy }}
  groupBy: {{ toJson . }}
  {{- end }}
  check:
    {{- .check | nindent 4 }}
  incident:
    summary: {{ .summary | quote }}
    {{- with .description }}
    description: {{ . | quote }}
    {{- end }}
    agentClassName: {{ $values.agentClassName }}
    {{- with $values.limits }}
    limits: {{- toYaml . | nindent 6 }}
    {{- end }}
    suspend: {{ $values.suspendIncidents }}
    verify:
      soakSeconds: {{ $values.soakSeconds }}
      checks:
        {{- include "tikv.verifyChecks" $root | nindent 8 }}
{{ end }}

{{/* A check that queries Prometheus. Call with (dict "root" $ "query" …). */}}
{{- define "tikv.prometheusCheck" -}}
prometheus:
  service: {{ include "tikv.fullname" .root }}-prometheus
  query: {{ .query | quote }}
{{- end }}

{{/*
No pod waits for something that will not resolve by itself, and every container that was OOM-killed is
ready again.
*/}}
{{- define "tikv.podsCheck" -}}
kubernetes:
  apiVersion: v1
  kind: Pod
  labelSelector: app.kubernetes.io/instance={{ .Release.Name }}
  cel: >-
    objects.all(p, !(has(p.status.containerStatuses) && p.status.containerStatuses.exists(c,
    (has(c.state.waiting) && has(c.state.waiting.reason) && c.state.waiting.reason in
    ["CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"])
    || (has(c.state.terminated) && has(c.state.terminated.reason) && c.state.terminated.reason == "OOMKilled")
    || (!c.ready && has(c.lastState) && has(c.lastState.terminated) && has(c.lastState.terminated.reason)
    && c.lastState.terminated.reason == "OOMKilled")))
    && !(has(p.status.conditions) && p.status.conditions.exists(c, c.type == "PodScheduled" && c.status == "False")))
{{- end }}
