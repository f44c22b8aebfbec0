/**
 * Finds the subjects that a scan passed over because others wrote meanwhile: a message that is replaced before its turn is delivered later, or
 * after the scan's end.
 */
import type { CallScope } from "../../kv/store.js";
import { toKvError } from "../client/errors.js";
import { readJetStream } from "../client/jetstream-api.js";
import { type ScannedSubjects, type ScanOptions, type ScanRange, scanSubjects } from "./key-scan.js";
import { existing, type Place } from "../client/message-reader.js";
import { expiresAtMs } from "../streams/expiry.js";
import { operationOf } from "../streams/records.js";

interface SubjectsInfo {
  /** Of all subjects that match, not of this answer. */
  readonly total?: number;
  readonly state: { readonly subjects?: Readonly<Record<string, number>> | null };
}

/**
 * The server sorts the subjects and answers with 100,000 at most (JetStream API, `STREAM.INFO` with `subjects_filter` and `offset`). Pages
 * overlap, so that subjects which go away between two of them don't push others out of sight.
 */
const PAGE_OVERLAP = 1_000;
/** The largest answer that is asked for; the server bounds it by the number of subjects alone. */
const CENSUS_BYTES_MAX = 8 * 1_048_576;
/** What a subject takes beside its text, and an answer beside its subjects. */
const SUBJECT_OVERHEAD_BYTES = 16;
const ANSWER_OVERHEAD_BYTES = 65_536;
/** Requests at once for subjects that were passed over. */
const LOOKUPS_MAX = 256;
/** Reads of what was written since the read before. Each takes a fraction of the time of the one before. */
const CHANGE_READS_MAX = 8;

/** Adds to the scan what it does not have of what is stored. `range`: what was scanned. Throws `KvError`. */
export async function addPassedOver(
  options: ScanOptions,
  place: Place,
  range: ScanRange & { readonly upTo: number },
  scanned: ScannedSubjects,
  scope: CallScope,
): Promise<void> {
  const { filter, ageMsMax } = range;
  const bytes = censusBytes(scanned);
  if (bytes > CENSUS_BYTES_MAX) return addChanges(options, place, range, scanned, scope);
  const { reader } = options;
  const passedOver: string[] = [];
  for (const subject of await subjectsOf(options, place, filter, bytes, scope))
    if (!scanned.has(subject)) passedOver.push(subject);
  while (passedOver.length > 0) {
    const lookUp = async (subject: string): Promise<void> => {
      const message = await reader.newest(place, subject, scope);
      if (message === undefined) return;
      const isValue = operationOf(message.headers) === "put";
      scanned.set(subject, isValue ? expiresAtMs(message.headers, message.timeMs, ageMsMax) : 0);
    };
    await Promise.all(passedOver.splice(-LOOKUPS_MAX).map(lookUp));
  }
}

/** How large a census of these subjects is, with room for some more. */
function censusBytes(scanned: ScannedSubjects): number {
  let bytes = 0;
  for (const subject of scanned.keys()) bytes += Buffer.byteLength(subject) + SUBJECT_OVERHEAD_BYTES;
  return ANSWER_OVERHEAD_BYTES + Math.ceil(bytes * 1.25);
}

/** Every subject that the filter covers, as the stream's leader counts them: no messages are read. */
async function subjectsOf(
  { requests }: ScanOptions,
  place: Place,
  filter: string,
  answerBytesMax: number,
  scope: CallScope,
): Promise<ReadonlySet<string>> {
  const subjects = new Set<string>();
  try {
    for (let offset = 0; ;) {
      const body = { subjects_filter: filter, offset };
      const operation = `STREAM.INFO.${place.stream}`;
      const info = await readJetStream<SubjectsInfo>(requests, operation, body, scope, answerBytesMax);
      const page = Object.keys(info.state.subjects ?? {});
      for (const subject of page) subjects.add(subject);
      if (page.length <= PAGE_OVERLAP || offset + page.length >= (info.total ?? 0)) return subjects;
      offset += page.length - PAGE_OVERLAP;
    }
  } catch (error) {
    throw toKvError(error, { bucket: place.bucket });
  }
}

/**
 * Where a census would be too large: what was passed over was written since the scan began, so all changes since then are read, and
 * those since that, until none of them was replaced before it was read, or nothing was written.
 */
async function addChanges(
  options: ScanOptions,
  place: Place,
  range: ScanRange & { readonly upTo: number },
  scanned: ScannedSubjects,
  scope: CallScope,
): Promise<void> {
  let from = range.upTo;
  for (let reads = 0; reads < CHANGE_READS_MAX; reads++) {
    const upTo = (await existing(options.requests, place, scope)).state.last_seq;
    if (upTo <= from) return;
    const changes = { ...range, start: { sequence: from + 1 }, upTo };
    const read = await scanSubjects(options, place, changes, scanned, scope);
    if (read === upTo - from) return;
    from = upTo;
  }
}
