/** The settings as the table of docs/settings.md: `npm run generate` writes it there, and a test compares. */
import { ALL_SETTINGS } from "./config.js";
import { flagOf } from "./config-settings.js";

/** One row a setting: variable, flag, default, meaning. */
export function settingsTable(): string {
  const rows = ALL_SETTINGS.map((setting) => {
    const shown = setting.default === undefined ? "" : `\`${setting.default}\``;
    return `| \`${setting.env}\` | \`--${flagOf(setting)}\` | ${shown} | ${setting.doc} |`;
  });
  return ["| Variable | Flag of `serve` | Default | Meaning |", "| --- | --- | --- | --- |", ...rows].join(
    "\n",
  );
}
