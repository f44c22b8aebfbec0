/**
 * The `republish` of a bucket's stream: the server publishes each message that it stores once more, with its sequence, on a subject that the
 * live feed subscribes to. (A consumer never delivers a message that was superseded before its turn.)
 */
import type { StreamConfig } from "../client/jetstream-api.js";

/** What a republished message is published under, before the stream's name. Outside `$KV`, as the server refuses a cycle. */
const SUBJECT_PREFIX = "$IRONFLOW.feed.";

export type RepublishConfig = NonNullable<StreamConfig["republish"]>;

/** The republish of a bucket's stream. `subjectPrefix`: what the bucket's subjects begin with. */
export function republishConfig(stream: string, subjectPrefix: string): RepublishConfig {
  return { src: `${subjectPrefix}>`, dest: `${SUBJECT_PREFIX}${stream}.>` };
}

/**
 * The subject on which everything that the bucket stores is republished with its value; undefined: there is none. Another program may
 * have configured one of its own, which serves as well: a stream has only one.
 */
export function republishSubject(
  config: RepublishConfig | undefined,
  subjectPrefix: string,
): string | undefined {
  if (config === undefined || config.headers_only === true) return undefined;
  const { src = ">", dest } = config;
  const coversBucket = src === "" || src === ">" || src === `${subjectPrefix}>`;
  // With a mapping function (ADR-30) the subjects are not those of one wildcard.
  return coversBucket && dest.endsWith(">") && !dest.includes("{") ? dest : undefined;
}
