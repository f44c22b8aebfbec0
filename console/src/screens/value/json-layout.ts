/** Lays out JSON with indentation. Numbers, strings and repeated names stay as they are written: parsing and printing would change some. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** Undefined: the text is not JSON. */
export function layOutJson(text: string): string | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
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
