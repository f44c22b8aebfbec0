/** Reads settings from flags and the environment. */
import { ConfigError, type DefaultedSetting, flagOf, type Setting } from "./setting.js";

type Values = Readonly<Record<string, string | undefined>>;

/** Flags take precedence over environment variables, and current names over former ones. An empty variable counts as unset. */
export class SettingReader {
  /** One sentence for each former name in use. */
  readonly warnings: string[] = [];

  constructor(
    private readonly environment: Values,
    private readonly flags: Values,
  ) {}

  /** The value of a setting; undefined if it is unset and has no default. Throws ConfigError if it is malformed. */
  read<Value>(setting: DefaultedSetting<Value>): Value;
  read<Value>(setting: Setting<Value>): Value | undefined;
  read<Value>(setting: Setting<Value>): Value | undefined {
    const text = this.textOf(setting);
    if (text === undefined) return undefined;
    try {
      return setting.parse(text);
    } catch (error) {
      const shown = setting.secret === true ? "" : ` is ${JSON.stringify(text)};`;
      throw new ConfigError(`${setting.env}${shown} ${error instanceof Error ? error.message : "malformed"}`);
    }
  }

  private textOf(setting: Setting): string | undefined {
    return (
      this.flags[flagOf(setting)] ??
      nonEmpty(this.environment[setting.env]) ??
      this.formerTextOf(setting) ??
      setting.default
    );
  }

  private formerTextOf(setting: Setting): string | undefined {
    const { env, formerEnv } = setting;
    if (formerEnv === undefined) return undefined;
    const text = this.flags[flagOf({ ...setting, env: formerEnv })] ?? nonEmpty(this.environment[formerEnv]);
    if (text !== undefined) {
      this.warnings.push(
        `${formerEnv} is now named ${env}: rename it, the next version refuses the old name.`,
      );
    }
    return text;
  }
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}
