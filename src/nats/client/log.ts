/** Where faults that no caller sees are told; pino's loggers fit. */
export interface Log {
  warn(facts: object, sentence: string): void;
}
