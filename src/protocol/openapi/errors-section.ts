/** docs/errors.md as a section of the document's description: a heading for each reason, which the responses link to. */

/** Where the page of the document explains a reason: the page makes its anchors from headings. */
export function linkOfReason(reason: string): string {
  return `/docs#description/${reason.replaceAll("_", "-")}`;
}

/** Turns the rows of the tables into headings with text; keeps the rest. Cells of short words would be unreadable beside the navigation. */
export function errorsSection(markdown: string): string {
  let columns: readonly string[] | undefined;
  const lines = markdown.trim().split("\n");
  return lines
    .flatMap((line) => {
      if (!line.startsWith("|")) {
        columns = undefined;
        return [line];
      }
      const cells = line.split("|").slice(1, -1);
      if (columns === undefined) {
        columns = cells.map((cell) => cell.trim().replace("?", ""));
        return [];
      }
      return /^[\s|-]*$/.test(line) ? [] : rowAsText(columns, cells);
    })
    .join("\n");
}

function rowAsText(columns: readonly string[], cells: readonly string[]): string[] {
  const [reason = "", ...others] = cells.map((cell) => cell.trim());
  const facts = others.flatMap((cell, index) => {
    const name = columns[index + 1] ?? "";
    return cell === "" || name === "Meaning" ? [] : [`- ${name}: ${cell}`];
  });
  const meaning = others[columns.indexOf("Meaning") - 1] ?? "";
  // The page makes its anchors and its navigation from headings, and takes underscores for emphasis.
  const title = reason.replaceAll("`", "").replaceAll("_", " ");
  return [`## ${title}`, "", `${reason}: ${meaning}`, "", ...facts, ""];
}
