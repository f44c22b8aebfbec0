/** Parses the `traceparent` header: https://www.w3.org/TR/trace-context/#traceparent-header */

export interface TraceParent {
  readonly traceId: string;
  readonly parentId: string;
  readonly flags: number;
}

/** Version, trace, parent, flags; later versions may append fields. */
const TRACE_PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const ZEROS = /^0+$/;

/** Undefined if the header is missing or malformed: the call then starts a new trace. */
export function parseTraceParent(header: string | undefined): TraceParent | undefined {
  const match = header === undefined ? undefined : TRACE_PARENT.exec(header);
  if (match === null || match === undefined) return undefined;
  const [, version = "", traceId = "", parentId = "", flags = "", more] = match;
  if (version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (ZEROS.test(traceId) || ZEROS.test(parentId)) return undefined;
  return { traceId, parentId, flags: Number.parseInt(flags, 16) };
}
