/**
 * Which subjects of a stream have messages, as the stream's leader counts them: one request, no messages read.
 *
 * A scan takes the server's count of what is still to come as its end. Under writes that count can reach zero too soon, when messages
 * that the scan was about to get are replaced meanwhile; the census then tells what it passed over.
 */
import type { CallScope } from "../kv/store.js";
import { toKvError } from "./errors.js";
import { readJetStream } from "./jetstream-api.js";
import type { Place } from "./newest.js";
import type { Requests } from "./requests.js";

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

/** Every subject that the filter covers. Throws `KvError`. */
export async function subjectsOf(
  requests: Requests,
  place: Place,
  filter: string,
  scope: CallScope,
): Promise<ReadonlySet<string>> {
  const subjects = new Set<string>();
  try {
    for (let offset = 0; ;) {
      const body = { subjects_filter: filter, offset };
      const info = await readJetStream<SubjectsInfo>(requests, `STREAM.INFO.${place.stream}`, body, scope);
      const page = Object.keys(info.state.subjects ?? {});
      for (const subject of page) subjects.add(subject);
      if (page.length <= PAGE_OVERLAP || offset + page.length >= (info.total ?? 0)) return subjects;
      offset += page.length - PAGE_OVERLAP;
    }
  } catch (error) {
    throw toKvError(error, { bucket: place.bucket });
  }
}
