/** The type of a setting, and parsers for its values. */

/** A setting is unknown, malformed, or contradicts another one. The message is one line for people. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** One setting: an environment variable, which is also a flag of `serve`. */
export interface Setting<Value = unknown> {
  /** The environment variable, such as DATA_DIR. */
  readonly env: string;
  /** A former name of the variable, accepted with a warning. */
  readonly formerEnv?: string;
  /** The placeholder for the value in `--help`. */
  readonly value: string;
  /** As text. Undefined: no default. */
  readonly default?: string;
  readonly doc: string;
  /** Never print or log the value. */
  readonly secret?: boolean;
  /** Throws Error with the rest of the sentence "NAME is VALUE; ...". */
  parse(value: string): Value;
}

/** A setting that always has a value. */
export interface DefaultedSetting<Value = unknown> extends Setting<Value> {
  readonly default: string;
}

/** The flag of a setting: `data-dir` for DATA_DIR, `api-key` for IRONFLOW_API_KEY. */
export function flagOf(setting: Setting): string {
  return setting.env
    .replace(/^IRONFLOW_/, "")
    .toLowerCase()
    .replaceAll("_", "-");
}

/** Parses a whole number in a range. */
export function parseCount(value: string, least: number, most: number): number {
  const count = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(count) || count < least || count > most) {
    throw new Error(`it must be a whole number from ${least} to ${most}.`);
  }
  return count;
}

export function parseBoolean(value: string): boolean {
  if (value === "true" || value === "1") return true;
  if (value === "false" || value === "0") return false;
  throw new Error("it must be true or false.");
}

/** Creates a parser that accepts exactly these values. */
export function enumParser<const Value extends string>(...values: readonly Value[]): (text: string) => Value {
  return (text) => {
    const found = values.find((value) => value === text);
    if (found === undefined)
      throw new Error(`it must be ${values.slice(0, -1).join(", ")} or ${values.at(-1) ?? ""}.`);
    return found;
  };
}
