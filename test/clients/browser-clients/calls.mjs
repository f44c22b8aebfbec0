// The calls of the client matrix in a page. A client has `unary(method, request, apiKey)`, which rejects with an error that has `code` and `message`,
// and `watch(request, apiKey, timeoutMs)`, the events of a stream.
const DEADLINE_MS = 500;
/** For a client that shows events only when the stream has ended: a busy machine must send one by then. */
const SHOWN_AT_END_MS = 5_000;

export async function callAll(
  { unary, watch, nameOf, isIncremental = true },
  { apiKey, bucket, missingKey },
) {
  const lines = [];
  const key = "k";
  const refused = (call) =>
    call.then(
      () => "nothing",
      (error) => error,
    );
  const put = await unary("put", { bucket, key, value: new TextEncoder().encode("Ann") }, apiKey);
  lines.push(`put ${put.revision === 1n}`);
  const got = await unary("get", { bucket, key }, apiKey);
  lines.push(`get ${new TextDecoder().decode(got.entry.value)}`);
  const precondition = { condition: { case: "ifAbsent", value: true } };
  const conflict = await refused(unary("put", { bucket, key, precondition }, apiKey));
  lines.push(`conflict ${nameOf(conflict.code)}`);
  const tooLarge = await refused(unary("put", { bucket, key, value: new Uint8Array(2 << 20) }, apiKey));
  lines.push(`too large ${nameOf(tooLarge.code)}`);
  const missing = await refused(unary("get", { bucket, key: missingKey }, apiKey));
  lines.push(`missing ${missing.rawMessage ?? missing.message}`);
  const withoutKey = await refused(unary("get", { bucket, key }));
  lines.push(`without key ${nameOf(withoutKey.code)}`);
  for await (const { event } of watch({ bucket }, apiKey, isIncremental ? undefined : SHOWN_AT_END_MS)) {
    if (event.case !== "change") continue;
    lines.push(`watch ${event.value.entry.key}`);
    break;
  }
  try {
    for await (const event of watch({ bucket }, apiKey, DEADLINE_MS)) void event;
    lines.push("the watch ended");
  } catch (error) {
    lines.push(`deadline ${nameOf(error.code)}`);
  }
  return lines;
}
