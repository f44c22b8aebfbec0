/**
 * The `republish` configuration of a bucket's stream: the server republishes each stored message, with its sequence, on a subject that the
 * live feed subscribes to. (A consumer never delivers a message that is superseded before its delivery.)
 */
import type { StreamConfig } from "../client/jetstream-api.js";

/** The subject prefix of republished messages, followed by the stream's name. Outside `$KV`, because the server rejects cycles. */
const SUBJECT_PREFIX = "$IRONFLOW.feed.";

export type RepublishConfig = NonNullable<StreamConfig["republish"]>;

/** The `republish` configuration for a bucket's stream. `subjectPrefix`: the prefix of the bucket's subjects. */
export function republishConfig(stream: string, subjectPrefix: string): RepublishConfig {
  return { src: `${subjectPrefix}>`, dest: `${SUBJECT_PREFIX}${stream}.>` };
}

/**
 * The subject on which all of the bucket's messages are republished with their values; undefined if there is none. It may be one that
 * another program configured: a stream has only one.
 */
export function republishSubject(
  config: RepublishConfig | undefined,
  subjectPrefix: string,
): string | undefined {
  if (config === undefined || config.headers_only === true) return undefined;
  const { src = ">", dest } = config;
  const coversBucket = src === "" || src === ">" || src === `${subjectPrefix}>`;
  // With a mapping function (ADR-30), no single wildcard matches the subjects.
  return coversBucket && dest.endsWith(">") && !dest.includes("{") ? dest : undefined;
}
