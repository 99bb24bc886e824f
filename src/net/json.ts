// JSON that every reader takes for the same text: whole characters, and nothing that YAML reads otherwise.

/** In what JSON.stringify writes, only half of a surrogate pair is such an escape. */
const LONE_SURROGATE = /(?<!\\)((?:\\\\)*)\\ud[89a-f][\da-f]{2}/g;
/**
 * Characters that YAML 1.1 takes for line breaks, or refuses. The API server reads an apply patch as
 * YAML, where blanks beside a raw line break are lost.
 */
const YAML_BREAKS = /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g;

/** Whether JSON from JSON.stringify has half of a surrogate pair, which strict readers refuse. */
export function hasHalfCharacter(json: string): boolean {
  return json.search(LONE_SURROGATE) >= 0;
}

/** JSON from JSON.stringify, with the replacement character for each half of a surrogate pair. */
export function withWholeCharacters(json: string): string {
  return json.replace(LONE_SURROGATE, '$1\\ufffd');
}

/** The same JSON for readers of YAML. */
export function escapeYamlBreaks(json: string): string {
  return json.replace(YAML_BREAKS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
