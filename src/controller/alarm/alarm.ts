// An alarm as its source reports it, and the name, label and spec of its Incident. Pure.

import { createHash } from 'node:crypto';
import { LABEL_FINGERPRINT } from '../../api/group.ts';
import { type IncidentSource, type IncidentSpec, originName, type Severity } from '../../api/incident.ts';
import type { NewKubeObject } from '../../kube/client.ts';

/** An alarm that fires. Reporting it repeatedly, in any order, is harmless. */
export interface Alarm {
  /**
   * `fingerprint` and `startTime` identify the episode, for which at most one Incident is opened.
   */
  readonly source: IncidentSource;
  /** The namespace of its Incident. */
  readonly namespace: string;
  readonly severity: Severity;
  /** As the source gave them; they become alertLabels and alertAnnotations. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** The other fields of the Incident's spec. */
  readonly incident: Pick<IncidentSpec, 'summary' | 'verify'> &
    Partial<Pick<IncidentSpec, 'description' | 'agentClassName' | 'targetNamespaces' | 'limits' | 'suspend'>>;
  /** What was seen since it was last raised; default: once, now. */
  readonly seen?: { readonly count: number; readonly lastTime: string; readonly flaps?: number };
}

/** The end of an alarm. It ends only what the same source has raised. */
export interface AlarmEnd {
  readonly source: Omit<IncidentSource, 'startTime'>;
  readonly namespace: string;
  /** In RFC 3339. An end before the start of the current episode is ignored. */
  readonly endTime: string;
  /** What was seen since the alarm was last raised. */
  readonly seen?: Alarm['seen'];
}

/** The part of a name that comes from the source's name, in characters at most. */
const READABLE = 40;
/**
 * The number of hex digits that make a name unique. If another object has the name, more are used.
 */
export const NAME_DIGITS = 8;

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/**
 * The same for all reports of one alarm by one source. A fingerprint alone is what its sender says,
 * so it must not lead to the Incident of another source.
 */
export function alarmKey(source: Omit<IncidentSource, 'startTime'>): string {
  return JSON.stringify([source.kind, originName(source), source.fingerprint]);
}

/** The label value for a fingerprint: the fingerprint itself if it is valid, else its digest. */
export function fingerprintLabel(fingerprint: string): string {
  const fits = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(fingerprint);
  return fits ? fingerprint : sha256(fingerprint).slice(0, 40);
}

/** The name of an Incident. An episode always has the same name, so it cannot be opened twice. */
export function incidentName(source: IncidentSource, digits: number = NAME_DIGITS): string {
  const readable = source.name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, READABLE)
    .replaceAll(/^-+|-+$/g, '');
  const episode = sha256(`${source.kind}\n${source.name}\n${source.fingerprint}\n${Date.parse(source.startTime)}`);
  return `${readable || 'alarm'}-${episode.slice(0, digits)}`;
}

/** The Incident of an alarm, ready to be created. */
export function buildIncident(alarm: Alarm, name: string): NewKubeObject {
  const { source, namespace, severity, labels, annotations, incident } = alarm;
  return {
    metadata: { namespace, name, labels: { [LABEL_FINGERPRINT]: fingerprintLabel(source.fingerprint) } },
    spec: {
      ...incident,
      severity,
      source,
      ...(Object.keys(labels).length === 0 ? {} : { alertLabels: labels }),
      ...(Object.keys(annotations).length === 0 ? {} : { alertAnnotations: annotations }),
    },
  };
}
