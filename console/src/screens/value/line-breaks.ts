/** What ends the lines of a text: the editor keeps it as it is. */
export type LineBreak = "\n" | "\r\n";

/** `\r\n` if every line of the texts ends in it. Otherwise a `\r` is a character of its line. */
export function lineBreakOf(...texts: readonly string[]): LineBreak {
  const hasOthers = texts.some((text) => /(?<!\r)\n|\r(?!\n)/.test(text));
  return !hasOthers && texts.some((text) => text.includes("\r\n")) ? "\r\n" : "\n";
}

/** The text with these line ends in place of its own. */
export function withLineBreak(text: string, lineBreak: LineBreak): string {
  return text.replace(/\r\n?|\n/g, lineBreak);
}
