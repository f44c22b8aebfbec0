/** What a setting is, and how its text is read. */

/** A setting that is unknown, malformed, or contradicts another. Its message is one line for people. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** One setting: an environment variable, which is also a flag of `serve`. */
export interface Setting {
  /** The environment variable, such as DATA_DIR. */
  readonly env: string;
  /** A former name of the variable: accepted, with a warning. */
  readonly formerEnv?: string;
  /** The field of `Config`, or of `Limits` where `limit` is set. */
  readonly field: string;
  /** What to write for the value in `--help`. */
  readonly value: string;
  /** As text; undefined: not set. */
  readonly default?: string;
  readonly doc: string;
  /** Never shown or logged. */
  readonly secret?: boolean;
  readonly limit?: boolean;
  /** Throws Error with the rest of the sentence "NAME is VALUE; ...". */
  parse(value: string): unknown;
}

/** The flag of a setting: `data-dir` for DATA_DIR, `api-key` for IRONFLOW_API_KEY. */
export function flagOf(setting: Setting): string {
  return setting.env
    .replace(/^IRONFLOW_/, "")
    .toLowerCase()
    .replaceAll("_", "-");
}

/** A whole number in a range. */
export function parseCount(value: string, least: number, most: number): number {
  const count = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(count) || count < least || count > most) {
    throw new Error(`it takes a whole number from ${least} to ${most}.`);
  }
  return count;
}

export function parseBoolean(value: string): boolean {
  if (value === "true" || value === "1") return true;
  if (value === "false" || value === "0") return false;
  throw new Error("it takes true or false.");
}

export function parseEnum<Value extends string>(value: string, values: readonly Value[]): Value {
  const found = values.find((one) => one === value);
  if (found === undefined)
    throw new Error(`it takes ${values.slice(0, -1).join(", ")} or ${values.at(-1) ?? ""}.`);
  return found;
}
