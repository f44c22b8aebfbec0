/** Human-readable text: tables, one-line previews of values, colours. Escapes control characters in data. */

// C0 and C1 controls and bidirectional formatting characters: a value must not control the terminal.
// eslint-disable-next-line no-control-regex -- matches them on purpose
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** The text with control characters escaped: one printable line. */
export function printable(text: string): string {
  return text.replace(CONTROL_CHARACTERS, (character) => {
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    return short ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Decodes bytes if they are safe to show on a terminal: UTF-8 without control characters, except tabs and line ends. */
export function showableText(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return text.replace(/[\t\r\n]/g, "").search(CONTROL_CHARACTERS) < 0 ? text : undefined;
  } catch {
    return undefined;
  }
}

/** A one-line preview of a value, cut to `charactersMax`. */
export function preview(bytes: Uint8Array, charactersMax: number): string {
  const text = showableText(bytes);
  if (text === undefined) return `<${bytes.length} bytes>`;
  return shorten(printable(text), Math.max(charactersMax, 10));
}

function shorten(text: string, charactersMax: number): string {
  const characters = Array.from(text);
  return characters.length <= charactersMax ? text : `${characters.slice(0, charactersMax - 1).join("")}…`;
}

/** Aligns columns, separated by two spaces. Right-aligns numbers; does not pad the last column. */
export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const cells = [header, ...rows.map((row) => row.map((cell) => printable(String(cell))))];
  const widths = header.map((_, column) => Math.max(...cells.map((row) => widthOf(row[column] ?? ""))));
  return cells.map((row) =>
    row
      .map((cell, column) => {
        const padding = " ".repeat((widths[column] ?? 0) - widthOf(cell));
        if (typeof rows[0]?.[column] === "number") return padding + cell;
        return column === row.length - 1 ? cell : cell + padding;
      })
      .join("  ")
      .trimEnd(),
  );
}

/** Aligned names and values, one pair per line. */
export function pairs(rows: readonly (readonly [string, string | number])[]): string[] {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${printable(String(value))}`.trimEnd());
}

/** Counts code points. Columns with wide characters may be misaligned. */
function widthOf(text: string): number {
  return Array.from(text).length;
}

export type Colour = "red" | "green" | "yellow" | "dim" | "bold";

const SGR: Readonly<Record<Colour, number>> = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 };

export function paint(text: string, colour: Colour, isColoured: boolean): string {
  return isColoured ? `\u001b[${SGR[colour]}m${text}\u001b[0m` : text;
}

/** `1 key`, `2,000 keys`. */
export function countOf(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}

/** `2026-01-31 12:34:56` in local time. */
export function formatTime(date: Date): string {
  const two = (part: number): string => String(part).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
