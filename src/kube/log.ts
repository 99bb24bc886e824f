// The part of a logger that src/kube needs. A pino logger fits.

export interface Log {
  debug(details: object, message: string): void;
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** A logger that discards everything. */
export const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {} };
