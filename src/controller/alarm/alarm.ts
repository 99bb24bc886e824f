// An alarm as its source tells it, and the Incident that is opened for it: its name, its label, its text. Pure.

import { createHash } from 'node:crypto';
import { LABEL_FINGERPRINT } from '../../api/group.ts';
import type { IncidentSource, IncidentSpec, Severity } from '../../api/incident.ts';
import type { NewKubeObject } from '../../kube/client.ts';

/** Something fires. Saying it again, in whatever order, does no harm. */
export interface Alarm {
  /** `fingerprint` and `startTime` together are the episode: one Incident at the most. */
  readonly source: IncidentSource;
  /** Where its Incident lives. */
  readonly namespace: string;
  readonly severity: Severity;
  /** As the alarm gave them; they become alertLabels and alertAnnotations. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** What else the Incident says. */
  readonly incident: Pick<IncidentSpec, 'summary' | 'verify'> &
    Partial<Pick<IncidentSpec, 'description' | 'agentClassName' | 'targetNamespaces' | 'limits' | 'suspend'>>;
  /** How often it was seen and came back since it was last raised, and when it was last seen; default: once, now. */
  readonly seen?: { readonly count: number; readonly lastTime: string; readonly flaps?: number };
}

/** Something has ceased to fire. */
export interface AlarmEnd {
  readonly fingerprint: string;
  readonly namespace: string;
  /** When (RFC 3339). An end from before the present episode is old news. */
  readonly endTime: string;
  /** What was seen since it was last raised. */
  readonly seen?: Alarm['seen'];
}

/** What a name may keep of the source's name, in characters. */
const READABLE = 40;
/** Hex digits that make a name unique; more, should a name be taken by something else. */
export const NAME_DIGITS = 8;

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A label's value for any fingerprint: itself if it fits, else its digest. */
export function fingerprintLabel(fingerprint: string): string {
  const fits = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(fingerprint);
  return fits ? fingerprint : sha256(fingerprint).slice(0, 40);
}

/** The same episode always has the same name, so that whoever raises it twice finds it taken. */
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
export function incidentOf(alarm: Alarm, name: string): NewKubeObject {
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
