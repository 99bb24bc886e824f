{{/* What V means for this release: what must hold before a repair counts. Counts are those that the release was installed with. */}}
{{- define "tikv.verifyChecks" -}}
{{- $full := include "tikv.fullname" . -}}
{{- $pd := printf "%s-pd" $full -}}
- name: stores
  http:
    service: {{ $pd }}
    port: 2379
    path: /pd/api/v1/stores
    # A Tombstone is what a correct repair may leave behind. PD says Disconnected when a heartbeat is 20 s late.
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
{{- /* Offline peers are on stores that are not Up. PD counts them when a region changes, so that its count may lag behind for hours. */}}
{{- range list "miss" "down" }}
- name: regions-{{ . }}
  http: {service: {{ $pd }}, port: 2379, path: /pd/api/v1/regions/check/{{ . }}-peer, cel: status == 200 && body.count == 0}
{{- end }}
- name: regions-pending
  {{- if .Values.prometheus.enabled }}
  # A peer that PD moves for balance is pending until its snapshot has arrived: at work, not ill. Ill is what does not come to an end.
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
  # The same ledger as before: one that was begun anew has forgotten what was lost.
  http: {service: {{ $full }}-load, port: 8080, path: /verdict, cel: status == 200 && body.ok && body.ledgerLost == 0 && (!has(baseline.body) || body.ledgerId == baseline.body.ledgerId)}
{{- end }}
{{- end }}

{{/* PD's own schedulers, all that it needs and none that somebody left behind. */}}
{{- define "tikv.schedulersCheck" -}}
http:
  service: {{ include "tikv.fullname" . }}-pd
  port: 2379
  path: /pd/api/v1/schedulers
  # Where PD cannot tell, its answer is no list, and this is no true or false.
  cel: >-
    body.all(s, s in {{ toJson .Values.monitors.schedulers }})
    && ["balance-leader-scheduler", "balance-region-scheduler"].all(s, s in body)
{{- end }}

{{/* Each StatefulSet asks for as many replicas as the release does, and has them: scaling down is no cure. */}}
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

{{/* A Monitor; call with (dict "root" $ "name" "severity" "forSeconds" "summary" "description" "groupBy" "check"). */}}
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

{{/* A check that asks Prometheus; call with (dict "root" $ "query" …). */}}
{{- define "tikv.prometheusCheck" -}}
prometheus:
  service: {{ include "tikv.fullname" .root }}-prometheus
  query: {{ .query | quote }}
{{- end }}

{{/* No pod waits for something that does not come by itself, and none was killed for its memory and is not back. */}}
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
