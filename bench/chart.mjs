// The chart of the README: gRPC Get at 128 in flight beside its rivals, as an SVG without a library.

const WIDTH = 720;
const ROW_HEIGHT = 34;
const LABEL_WIDTH = 290;

/** Bars of calls per second, longest first. */
export function chart(rows) {
  const shown = rows
    .filter((row) => row.title === "gRPC Get" && row.inFlight === 128 && row.valueBytes === 128)
    .sort((left, right) => right.perSecond - left.perSecond);
  const most = Math.max(...shown.map((row) => row.perSecond));
  const height = shown.length * ROW_HEIGHT + 56;
  const bars = shown.map((row, index) => {
    const y = 44 + index * ROW_HEIGHT;
    const width = Math.max(2, Math.round((row.perSecond / most) * (WIDTH - LABEL_WIDTH - 100)));
    const color = row.name.startsWith("ironflow-kv") && !row.name.includes("stock") ? "#0b7a75" : "#9aa5b1";
    return [
      `<text x="${LABEL_WIDTH - 10}" y="${y + 17}" text-anchor="end">${row.name}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${width}" height="24" rx="3" fill="${color}"/>`,
      `<text x="${LABEL_WIDTH + width + 8}" y="${y + 17}">${row.perSecond.toLocaleString("en")}</text>`,
    ].join("");
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="14" fill="#1f2933">`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    `<text x="16" y="26" font-size="16" font-weight="600">gRPC Get, calls a second (128 in flight, 128-byte values)</text>`,
    ...bars,
    "</svg>\n",
  ].join("\n");
}
