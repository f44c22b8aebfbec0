/** The table of settings in docs/settings.md. `npm run generate` writes it, and a test checks that it is current. */
import { ALL_SETTINGS } from "./config.js";
import { flagOf } from "./setting.js";

/** One row per setting: variable, flag, default, meaning. */
export function settingsTable(): string {
  const rows = ALL_SETTINGS.map((setting) => {
    const shown = setting.default === undefined ? "" : `\`${setting.default}\``;
    return `| \`${setting.env}\` | \`--${flagOf(setting)}\` | ${shown} | ${setting.doc} |`;
  });
  return ["| Variable | Flag of `serve` | Default | Meaning |", "| --- | --- | --- | --- |", ...rows].join(
    "\n",
  );
}
