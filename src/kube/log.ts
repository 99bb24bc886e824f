// The little of a logger that src/kube needs; pino's fits.

export interface Log {
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** Says nothing. */
export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };
