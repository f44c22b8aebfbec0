/** The error responses of an operation: those in the comments of its service and method, and those of every REST call. */
import type { Endpoint } from "../rest/routes.js";
import { type Comments, type DocumentedError, errorsOf } from "./comments.js";
import type { Form } from "./forms.js";
import type { Json } from "./schemas.js";

/** The responses by status, each with its reasons and sentences. */
export function errorAnswers({ method, body, shape }: Endpoint, comments: Comments, form: Form): Json {
  const lines = new Map<number, Set<string>>();
  const add = (status: number, line: string): void => {
    const known = lines.get(status) ?? new Set();
    lines.set(status, known.add(line));
  };
  const documented = [
    ...errorsOf(comments.get(`${method.service.typeName}.${method.desc.name}`) ?? ""),
    ...errorsOf(comments.get(method.service.typeName) ?? ""),
  ];
  for (const error of documented) add(error.status, lineOf(error));
  for (const [status, line] of Object.entries(form.errors ?? {})) add(Number(status), line);
  add(429, "`rate_limited`: a limit on calls is reached.");
  add(500, "`internal`: an internal error of the service. The cause is in its log.");
  if (body.kind !== "none") {
    add(408, "`request_timeout`: the body did not arrive in time.");
    add(413, `\`${shape.tooLargeCode ?? "body_too_large"}\`: the body is too large.`);
    add(415, "`unsupported_media_type`: the body's type or encoding is not accepted.");
  }
  const answers = [...lines].sort(([left], [right]) => left - right);
  return Object.fromEntries(
    answers.map(([status, sentences]) => [
      status,
      {
        description: [...sentences].join("\n\n"),
        ...(HEADERS[status] === undefined ? {} : { headers: HEADERS[status] }),
        content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
      },
    ]),
  );
}

function lineOf({ reasons, sentence }: DocumentedError): string {
  const names = reasons.map((reason) => `\`${reason}\``).join(", ");
  return names === "" ? sentence.charAt(0).toUpperCase() + sentence.slice(1) : `${names}: ${sentence}`;
}

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
