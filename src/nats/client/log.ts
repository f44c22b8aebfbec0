/** Receives failures that no call reports. A pino logger is one. */
export interface Log {
  warn(fields: object, message: string): void;
}
