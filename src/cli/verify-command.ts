/** `verify`: checks that a backup is complete and intact, and lists its contents. */
import { type Inspection, inspectFile, inspectStream, isSalvageable } from "../backup/inspect.js";
import type { Section } from "../backup/ledger.js";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { stat } from "node:fs/promises";
import { startProgress } from "./progress.js";
import type { Session } from "./session.js";
import { countOf, formatTime, pairs, table } from "./text.js";
import { formatBytes } from "./units.js";

export async function runVerify(session: Session, file: string): Promise<void> {
  const inspection = await inspectWithProgress(session, file);
  const { ledger, problem } = inspection;
  if (problem !== undefined && !isSalvageable(problem)) throw problem;
  await session.print(
    {
      whole: problem === undefined,
      backup_id: ledger.header?.backupId,
      entries: ledger.entries,
      bytes: ledger.bytes,
      buckets: ledger.sections.map((section) => ({
        name: section.begin.name,
        entries: section.entries,
        complete: section.end !== undefined,
        ...(section.end === undefined ? {} : { revision: Number(section.end.revision) }),
      })),
    },
    () => reportLines(inspection),
  );
  if (problem !== undefined) throw problem;
}

/** Checks a file, or standard input for `-`. */
export async function inspectWithProgress(session: Session, file: string): Promise<Inspection> {
  const progress = await startProgress(session, "verify");
  const size = file === "-" ? Infinity : (await stat(file)).size;
  let bytes = 0;
  const onBytes = (count: number): void => {
    bytes += count;
    progress.update(Math.min(bytes / size, 1), () => formatBytes(bytes));
  };
  try {
    return file === "-"
      ? await inspectStream(session.io.stdin, { onBytes })
      : await inspectFile(file, { onBytes });
  } finally {
    progress.stop();
  }
}

/** Describes the part of a damaged backup that can be restored. */
export function salvageSentence({ ledger }: Inspection): string {
  const complete = ledger.sections.filter(({ end }) => end !== undefined);
  const { open } = ledger;
  if (complete.length === 0 && open === undefined) return "The backup has nothing to salvage.";
  const parts = complete.length === 0 ? [] : [complete.map(({ begin }) => begin.name).join(", ")];
  if (open !== undefined)
    parts.push(`the first ${countOf(open.entries, "entry", "entries")} of ${open.begin.name}`);
  return `Intact: ${parts.join(", and ")}. Restore it with import --salvage.`;
}

function reportLines(inspection: Inspection): string[] {
  const { ledger, problem } = inspection;
  const { header } = ledger;
  const state = ({ end }: Section): string => (end === undefined ? "truncated" : "complete");
  const rows = ledger.sections.map((section) => [
    section.begin.name,
    section.entries,
    section.begin.history,
    String(section.end?.revision ?? "-"),
    state(section),
  ]);
  return [
    ...(header?.createdAt === undefined
      ? []
      : pairs([
          ["backup", header.backupId],
          ["created", formatTime(timestampDate(header.createdAt))],
        ])),
    ...(rows.length === 0
      ? []
      : ["", ...table(["BUCKET", "ENTRIES", "HISTORY", "REVISION", "STATE"], rows), ""]),
    problem === undefined
      ? `The backup is complete: ${countOf(ledger.sections.length, "bucket")}, ${countOf(ledger.entries, "entry", "entries")}, ${formatBytes(ledger.bytes)}.`
      : salvageSentence(inspection),
  ];
}
