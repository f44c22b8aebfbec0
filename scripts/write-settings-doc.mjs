// Writes the table of settings into docs/settings.md, from the code that reads them. Run after a build.
import { readFileSync, writeFileSync } from "node:fs";
import { settingsTable } from "../dist/src/config/table.js";

const file = new URL("../docs/settings.md", import.meta.url);
const text = readFileSync(file, "utf8");
const table = `<!-- settings:begin -->\n\n${settingsTable()}\n\n<!-- settings:end -->`;
writeFileSync(file, text.replace(/<!-- settings:begin -->[^]*<!-- settings:end -->/, table));
