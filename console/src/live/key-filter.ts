/** What a user types to narrow a list of keys: the beginning of a key, or a filter of the service with `*` and `>`. */

export interface KeyFilter {
  /** For ListKeys. */
  readonly filters: readonly string[];
  readonly matches: (key: string) => boolean;
}

export function keyFilterOf(text: string): KeyFilter {
  if (text === "") return { filters: [], matches: () => true };
  if (/[*>]/.test(text)) return { filters: [text], matches: patternOf(text) };
  // The text may end within a token, and further tokens may follow it.
  const filters = text.endsWith(".") ? [`${text}>`] : [`${text}*`, `${text}*.>`];
  return { filters, matches: (key) => key.startsWith(text) };
}

function patternOf(text: string): (key: string) => boolean {
  const tokens = text.split(".");
  const hasTail = tokens.at(-1) === ">";
  if (hasTail) tokens.pop();
  const patterns = tokens.map((token) =>
    token === "*" ? "[^.]+" : token.replace(/[.+?^${}()|[\]\\>]/g, "\\$&").replaceAll("*", "[^.]*"),
  );
  const expression = new RegExp(`^${[...patterns, ...(hasTail ? [".+"] : [])].join("\\.")}$`, "u");
  return (key) => expression.test(key);
}
