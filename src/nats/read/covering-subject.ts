/**
 * One NATS filter for several: the narrowest that covers them all.
 *
 * JetStream takes several filters for a consumer, but (seen with 2.14) when a key is rolled up or purged that is itself one of them, it
 * moves the consumer on to what is left of that key, and passes over the messages of the other filters before it. With one
 * filter this is harmless.
 */
export function coveringSubject(subjects: readonly string[]): string {
  const [first = ">", ...others] = subjects;
  return others.reduce(coverTwo, first);
}

function coverTwo(left: string, right: string): string {
  const leftTokens = left.split(".");
  const rightTokens = right.split(".");
  const hasTail = leftTokens.at(-1) === ">" || rightTokens.at(-1) === ">";
  const isEven = leftTokens.length === rightTokens.length && !hasTail;
  // A last `>` stands for at least one token: the prefix before it leaves one of the shorter subject.
  const shared = Math.min(leftTokens.length, rightTokens.length) - (isEven ? 0 : 1);
  const tokens = leftTokens
    .slice(0, shared)
    .map((token, index) => (token === rightTokens[index] ? token : "*"));
  return isEven ? tokens.join(".") : [...tokens, ">"].join(".");
}
