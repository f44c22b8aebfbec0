/** The limits as settings: their names in the environment, defaults and parsers. */
import { DEFAULT_LIMITS, type Limits } from "../kv/limits.js";
import { LIMIT_TABLE } from "./limit-table.js";
import { type DefaultedSetting, parseCount } from "./setting.js";

export interface LimitSetting extends DefaultedSetting<number> {
  readonly field: keyof Limits;
}

/** Former names, accepted with a warning for one version. */
const FORMER_ENV: Partial<Record<keyof Limits, string>> = {
  incompleteRequestBytesMax: "UNFINISHED_BYTES_MAX",
  unsentResponseBytesMax: "UNTAKEN_BYTES_MAX",
};

export const LIMIT_SETTINGS: readonly LimitSetting[] = LIMIT_TABLE.map(([field, least, most, doc]) => ({
  env: field.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
  ...(FORMER_ENV[field] === undefined ? {} : { formerEnv: FORMER_ENV[field] }),
  field,
  value: "number",
  default: String(DEFAULT_LIMITS[field]),
  doc,
  parse: (value) => parseCount(value, least, most),
}));
