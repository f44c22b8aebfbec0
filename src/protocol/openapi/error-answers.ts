/** The error responses of an operation: those in the comments of its service and method, and those of every REST call. */
import type { Endpoint } from "../rest/routes.js";
import { type Comments, errorsOf } from "./comments.js";
import { linkOfReason } from "./errors-section.js";
import type { Form } from "./forms.js";
import type { Json } from "./schemas.js";

/** The responses by status, each with its reasons and sentences, and an example of each reason. */
export function errorAnswers({ method, body, shape }: Endpoint, comments: Comments, form: Form): Json {
  const lines = new Map<number, Set<string>>();
  const examples = new Map<number, Record<string, Json>>();
  const add = (status: number, documented: readonly string[], sentence: string): void => {
    const reasons = documented.length > 0 ? documented : [REASON_OF_STATUS[status] ?? "internal"];
    const names = reasons.map((reason) => `[\`${reason}\`](${linkOfReason(reason)})`).join(", ");
    const line = `${names}: ${documented.length > 0 ? sentence : capitalised(sentence)}`;
    lines.set(status, (lines.get(status) ?? new Set()).add(line));
    const known = examples.get(status) ?? {};
    for (const code of reasons) known[code] ??= { value: { error: capitalised(sentence), code } };
    examples.set(status, known);
  };
  const documented = [
    ...errorsOf(comments.get(`${method.service.typeName}.${method.desc.name}`) ?? ""),
    ...errorsOf(comments.get(method.service.typeName) ?? ""),
  ];
  for (const { status, reasons, sentence } of documented) add(status, reasons, sentence);
  for (const [status, [reason, sentence]] of Object.entries(form.errors ?? {}))
    add(Number(status), [reason], sentence);
  add(429, ["rate_limited"], "a limit on calls is reached.");
  add(500, ["internal"], "an internal error of the service. The cause is in its log.");
  if (body.kind !== "none") {
    add(408, ["request_timeout"], "the body did not arrive in time.");
    add(413, [shape.tooLargeCode ?? "body_too_large"], "the body is too large.");
    add(415, ["unsupported_media_type"], "the body's type or encoding is not accepted.");
  }
  const answers = [...lines].sort(([left], [right]) => left - right);
  return Object.fromEntries(
    answers.map(([status, sentences]) => [
      status,
      {
        description: [...sentences].join("\n\n"),
        ...(HEADERS[status] === undefined ? {} : { headers: HEADERS[status] }),
        content: {
          "application/json": {
            schema: { $ref: "#/components/schemas/Error" },
            examples: examples.get(status),
          },
        },
      },
    ]),
  );
}

function capitalised(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/** The reasons of errors that a comment lists without one. */
const REASON_OF_STATUS: Readonly<Record<number, string>> = {
  400: "invalid_argument",
  401: "unauthenticated",
  403: "permission_denied",
  503: "unavailable",
  504: "deadline_exceeded",
};

const RETRY_AFTER: Json = {
  "Retry-After": { description: "How long to wait, in seconds.", schema: { type: "integer", minimum: 1 } },
};

/** Headers that rest/errors.ts adds, by status. */
const HEADERS: Readonly<Record<number, Json>> = {
  401: { "WWW-Authenticate": { description: "`Bearer`.", schema: { const: "Bearer" } } },
  412: { ETag: { description: "The key's current ETag, if it has one.", schema: { type: "string" } } },
  429: RETRY_AFTER,
  503: RETRY_AFTER,
};
