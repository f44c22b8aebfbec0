/** Lays out JSON with indentation, and removes that again. Numbers, strings and repeated names stay as they are written: parsing and printing would change some. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

export function isValidJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Removes the layout of JSON. */
export function compactJson(text: string): string {
  return (text.match(TOKEN) ?? []).join("");
}

/** Undefined: the text is not JSON. */
export function layOutJson(text: string): string | undefined {
  if (!isValidJson(text)) return undefined;
  let output = "";
  let depth = 0;
  let previous = "";
  const newLine = (): string => `\n${"  ".repeat(depth)}`;
  for (const [token] of text.matchAll(TOKEN)) {
    const isClosing = token === "}" || token === "]";
    if (isClosing) depth--;
    const isEmpty = (previous === "{" && token === "}") || (previous === "[" && token === "]");
    const startsLine = previous === "{" || previous === "[" || previous === "," || isClosing;
    if (startsLine && !isEmpty) output += newLine();
    else if (previous === ":") output += " ";
    output += token;
    if (token === "{" || token === "[") depth++;
    previous = token;
  }
  return output;
}
