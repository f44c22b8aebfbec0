/** The open groups of a tree as text for the address. Any character may be part of a key, so each group is escaped. */

/** A service accepts request targets up to a limit. Groups beyond this are closed after a reload. */
const CHARACTERS_MAX = 4_000;
const SEPARATOR = ",";

export function groupsToText(groups: readonly string[]): string {
  let text = "";
  for (const group of groups) {
    const next = `${text}${text === "" ? "" : SEPARATOR}${encodeURIComponent(group)}`;
    if (next.length > CHARACTERS_MAX) break;
    text = next;
  }
  return text;
}

export function groupsOfText(text: string): readonly string[] {
  return text.split(SEPARATOR).flatMap((part) => {
    try {
      const group = decodeURIComponent(part);
      return group.endsWith(".") ? [group] : [];
    } catch {
      // Not written by this console.
      return [];
    }
  });
}
