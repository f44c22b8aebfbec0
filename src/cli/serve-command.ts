/** `serve`: runs the service. Has one flag for each setting. */
import { type Command, Option } from "commander";
import type { Setting } from "../config/setting.js";
import { givenFlags } from "./session.js";

/** The values of the given flags, by name without the dashes. */
export type ServeFlags = Readonly<Record<string, string | undefined>>;

export function addServeCommand(
  program: Command,
  { settings, flagOf }: { settings: readonly Setting[]; flagOf: (setting: Setting) => string },
  serve: (flags: ServeFlags) => Promise<void>,
): void {
  const command = program
    .command("serve")
    .description("run the service; every option is also an environment variable");
  const flagByOption = new Map<string, string>();
  for (const setting of settings) {
    const flag = flagOf(setting);
    const standard = setting.default === undefined ? "" : `, default ${setting.default}`;
    command.option(`--${flag} <${setting.value}>`, `${setting.doc} (${setting.env}${standard})`);
    flagByOption.set(command.options.at(-1)?.attributeName() ?? flag, flag);
    if (setting.formerEnv === undefined) continue;
    const formerFlag = flagOf({ ...setting, env: setting.formerEnv });
    const former = new Option(`--${formerFlag} <${setting.value}>`).hideHelp();
    command.addOption(former);
    flagByOption.set(former.attributeName(), formerFlag);
  }
  command.action(async (options: Record<string, string>) => {
    // Options before `serve` are client options. Refuse them: ignoring an --api-key would leave the service open.
    if (Object.keys(givenFlags(program)).length > 0) {
      command.error(
        "error: an option stands before serve; put the options after it: ironflow-kv serve --port 9123",
      );
    }
    const flags: Record<string, string> = {};
    for (const [name, value] of Object.entries(options)) flags[flagByOption.get(name) ?? name] = value;
    await serve(flags);
  });
}
