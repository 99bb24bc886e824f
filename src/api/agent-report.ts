// What the agent leaves in its termination message, for the controller: why it ended without a claim.

import * as z from 'zod';

/** The kubelet keeps no longer message. In bytes. */
const MAX_BYTES = 4096;

/** An answer in which a model declined to continue. */
export const modelRefusal = z.object({
  model: z.string().max(256).meta({ description: 'The model that declined.' }),
  category: z.string().max(64).optional().meta({ description: 'The category that the model API gives, if any.' }),
  requestID: z.string().max(128).optional().meta({ description: 'The ID of the request, for the vendor.' }),
});
export type ModelRefusal = z.infer<typeof modelRefusal>;

const agentReport = z.object({
  /** One of the codes of oplab. */
  code: z.string().max(64).optional(),
  message: z.string(),
  /** Set if the model declined. */
  refusal: modelRefusal.optional(),
});
export type AgentReport = z.infer<typeof agentReport>;

/** Writes a report so that it fits. */
export function formatAgentReport({ message, ...rest }: AgentReport): string {
  for (let text = message; ; text = text.slice(0, Math.floor(text.length * 0.9))) {
    const line = JSON.stringify({ ...rest, message: text });
    if (Buffer.byteLength(line) <= MAX_BYTES) return line;
  }
}

/** Reads a termination message; undefined if it is not a report, but for example output of a crash. */
export function readAgentReport(text: string): AgentReport | undefined {
  try {
    return agentReport.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** The codes after which another attempt would end in the same way. */
const FINAL_CODES: readonly string[] = [
  'OPLAB_MODEL_KEY_REFUSED',
  'OPLAB_MODEL_ACCOUNT',
  'OPLAB_MODEL_UNKNOWN',
  'OPLAB_MODEL_DECLINED',
  'OPLAB_MODEL_REFUSED',
  'OPLAB_THINKING_REFUSED',
  'OPLAB_CONTEXT_FULL',
];

/** Whether no further attempt can do better. */
export function isFinalReport({ code }: Pick<AgentReport, 'code'>): boolean {
  return code !== undefined && FINAL_CODES.includes(code);
}
