/**
 * The OpenAPI 3.1 document of the REST paths (https://spec.openapis.org/oas/v3.1.1.html), from the contract's descriptors, their
 * google.api.http rules and their comments. Built at code generation (scripts/write-openapi.mjs); the service only serves the result.
 */
import { createFileRegistry, type DescMethod } from "@bufbuild/protobuf";
import type { FileDescriptorSet } from "@bufbuild/protobuf/wkt";
import type { BoundMethod } from "../../service/calls.js";
import { formatPathTemplate } from "../rest/path-template.js";
import type { Route } from "../rest/router.js";
import { createRouter, type Endpoint } from "../rest/routes.js";
import { emptyAnswer } from "../rest/shape.js";
import { SHAPES } from "../rest/shapes.js";
import { type Comments, descriptionOf, readComments } from "./comments.js";
import { errorAnswers } from "./error-answers.js";
import { errorsSection } from "./errors-section.js";
import { EXAMPLES, KEY_EXAMPLES } from "./examples.js";
import { formSchemas } from "./form-schemas.js";
import { type Form, type FormAnswer, FORMS } from "./forms.js";
import { BINARY, described, type Json, MessageSchemas, TEXT } from "./schemas.js";
import { CREDENTIALS, SECURITY_SCHEMES } from "./security.js";

const INFO = `The REST paths of ironflow-kv. Revisions and sizes are JSON numbers, times RFC 3339, values base64.

\`HEAD\` works wherever \`GET\` does, except for watches. \`OPTIONS\` lists the methods of a path. Other paths and methods return 404 or 405.
Unknown query parameters are refused with 400.`;

/** What the document calls a service of the contract. */
const TAGS: Readonly<Record<string, string>> = {
  KeyValueService: "Keys",
  BucketService: "Buckets",
  ApiKeyService: "API keys",
  ConfigService: "Configs",
};

export interface DocumentSource {
  /** The contract, with source information. */
  readonly files: FileDescriptorSet;
  readonly version: string;
  /** The text of docs/errors.md. */
  readonly errors: string;
}

/** Creates the document. Throws if something has no description. */
export function openApiDocument({ files, version, errors }: DocumentSource): Json {
  const comments = readComments(files);
  const schemas = new MessageSchemas(comments);
  const methods = methodsOf(files);
  const routes = createRouter({ methods }, shapesByName(methods)).routes.filter(
    ({ target }) => !target.isAlias,
  );
  const paths: Record<string, Record<string, Json>> = { ...PROBES };
  for (const route of routes) {
    const path = formatPathTemplate(route.template).replace(/=[^}]*/g, "");
    (paths[path] ??= {})[route.httpMethod.toLowerCase()] = operationOf(route, comments, schemas);
  }
  const services = new Set(routes.map(({ target }) => target.method.service));
  return {
    openapi: "3.1.1",
    info: {
      title: "ironflow-kv",
      version,
      description: `${INFO}\n\n${errorsSection(errors)}`,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    tags: [
      ...[...services].map((service) =>
        described({ name: tagOf(service) }, descriptionOf(comments.get(service.typeName) ?? "")),
      ),
      { name: PROBES_TAG, description: "Tells whether the service runs. Needs no API key." },
    ],
    security: CREDENTIALS,
    paths,
    components: {
      securitySchemes: SECURITY_SCHEMES,
      parameters: { Environment: ENVIRONMENT },
      schemas: { ...formSchemas((name) => schemas.describe(name)), ...schemas.components },
    },
  };
}

const ENVIRONMENT: Json = {
  name: "X-Ironflow-Environment",
  in: "header",
  description: "The environment: a namespace of buckets, apart from the others.",
  schema: { type: "string", pattern: "^[A-Za-z0-9-]{1,32}$", default: "default" },
};

const PROBES_TAG = "Probes";

const PROBES = {
  "/healthz": probe("getHealth", "Reports whether the process is alive.", { 200: "The process is alive." }),
  "/readyz": probe("getReadiness", "Reports whether the service accepts calls and its storage answers.", {
    200: "The service is ready.",
    503: "The service is stopping, or the storage does not answer.",
  }),
};

function probe(
  operationId: string,
  summary: string,
  answers: Readonly<Record<number, string>>,
): Record<string, Json> {
  const responses = Object.entries(answers).map(([status, description]) => [
    status,
    { description, content: { "text/plain": { schema: TEXT } } },
  ]);
  return {
    get: {
      operationId,
      tags: [PROBES_TAG],
      summary,
      security: [],
      responses: Object.fromEntries(responses) as Json,
    },
  };
}

/** The contract's methods for the router. Their handlers are never called. */
function methodsOf(files: FileDescriptorSet): Map<string, BoundMethod> {
  const methods = new Map<string, BoundMethod>();
  const handler = (): Promise<never> => Promise.reject(new Error("The document calls nothing."));
  for (const service of createFileRegistry(files)) {
    if (service.kind !== "service") continue;
    for (const desc of service.methods) {
      const path = `/${service.typeName}/${desc.name}`;
      methods.set(path, { path, service, desc, handler });
    }
  }
  return methods;
}

/** The shapes keyed by these descriptors, which differ from those of the generated code. */
function shapesByName(methods: ReadonlyMap<string, BoundMethod>) {
  const byName = new Map([...SHAPES].map(([method, shape]) => [nameOf(method), shape]));
  return new Map(
    [...methods.values()].flatMap(({ desc }) => {
      const shape = byName.get(nameOf(desc));
      return shape === undefined ? [] : [[desc, shape] as const];
    }),
  );
}

function tagOf({ name }: BoundMethod["service"]): string {
  const tag = TAGS[name];
  if (tag === undefined) throw new Error(`${name} has no tag; name one in openapi/document.ts`);
  return tag;
}

function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}.${method.name}`;
}

function operationOf({ target }: Route<Endpoint>, comments: Comments, schemas: MessageSchemas): Json {
  const { method, body } = target;
  const name = nameOf(method.desc);
  const form = FORMS[name] ?? {};
  const description = descriptionOf(comments.get(name) ?? "");
  if (description === "") throw new Error(`${name} has no comment`);
  const requestBody =
    body.kind === "none"
      ? undefined
      : { required: body.kind !== "bytes", content: bodyOf(target, form, schemas) };
  return {
    operationId: form.operationId ?? method.desc.localName,
    tags: [tagOf(method.service)],
    summary: description.split(/(?<=\.)\s|\n/)[0] ?? "",
    description: form.note === undefined ? description : `${description}\n\n${form.note}`,
    ...(form.security === undefined ? {} : { security: form.security }),
    parameters: parametersOf(target, form, schemas),
    ...(requestBody === undefined ? {} : { requestBody }),
    responses: {
      ...answersOf(target, form, schemas),
      ...errorAnswers(target, comments, form),
    },
  };
}

function parametersOf({ method, paths, parameters }: Endpoint, form: Form, schemas: MessageSchemas): Json[] {
  const { input } = method.desc;
  const inPath = paths.map(({ variable }) => ({
    name: variable.fieldPath,
    in: "path",
    required: true,
    description: schemas.describe(`${input.typeName}.${variable.fieldPath}`) ?? "",
    schema: TEXT,
    example: KEY_EXAMPLES[variable.fieldPath] ?? "",
  }));
  const inQuery = [...parameters].map(([name, { repeats }]) => {
    const field = input.fields.find((one) => one.name === name);
    const [schema, description] = form.parameters?.[name] ?? [
      field && schemas.parameter(field),
      field && schemas.describe(`${input.typeName}.${name}`),
    ];
    if (schema === undefined || description === undefined) {
      throw new Error(`${input.typeName}: the parameter ${name} is not described; do so in openapi/forms.ts`);
    }
    const isList = repeats === true && schema.type !== "array";
    return { name, in: "query", description, schema: isList ? { type: "array", items: schema } : schema };
  });
  const inHeaders = Object.entries(form.headers ?? {}).map(([name, description]) => ({
    name,
    in: "header",
    description,
    schema: TEXT,
  }));
  return [...inPath, ...inQuery, ...inHeaders, { $ref: "#/components/parameters/Environment" }];
}

function bodyOf(endpoint: Endpoint, form: Form, schemas: MessageSchemas): Json {
  const { body, shape, method, paths } = endpoint;
  const example = EXAMPLES[nameOf(method.desc)]?.request;
  if (body.kind === "bytes") {
    return {
      "text/plain": { schema: TEXT, example },
      "application/octet-stream": { schema: BINARY, example },
    };
  }
  if (body.kind === "text") return { "application/json": { schema: form.body, example } };
  if (form.body === undefined && shape.readBody !== undefined) throw undescribed(method, "body");
  const inPath = new Set(paths.map(({ variable }) => variable.fieldPath));
  const { body: own = "message" } = form;
  const schema = own === "message" ? schemas.request(method.desc.input, inPath) : own;
  return { "application/json": { schema, example } };
}

function answersOf({ method, shape }: Endpoint, form: Form, schemas: MessageSchemas): Json {
  const example = EXAMPLES[nameOf(method.desc)]?.response;
  if (form.answers !== undefined) {
    const answers = Object.entries(form.answers).map(([status, answer]) => [
      status,
      answerOf(answer, example),
    ]);
    return Object.fromEntries(answers) as Json;
  }
  if (shape.answer === emptyAnswer) return { 204: { description: "Done." } };
  if (shape.answer !== undefined) throw undescribed(method, "answer");
  const schema = schemas.answer(method.desc.output);
  return { 200: { description: "Done.", content: { "application/json": { schema, example } } } };
}

/** `example` is that of the first content type. */
function answerOf({ description, headers, content }: FormAnswer, example: unknown): Json {
  const media = (schemas: Readonly<Record<string, Json>>): Json =>
    Object.fromEntries(
      Object.entries(schemas).map(([type, schema], index) => [
        type,
        index === 0 ? { schema, example } : { schema },
      ]),
    );
  return {
    description,
    ...(headers === undefined ? {} : { headers: headersOf(headers) }),
    ...(content === undefined ? {} : { content: media(content) }),
  };
}

function headersOf(headers: Readonly<Record<string, string>>): Json {
  return Object.fromEntries(
    Object.entries(headers).map(([name, description]) => [name, { description, schema: TEXT }]),
  );
}

function undescribed(method: BoundMethod, part: string): Error {
  return new Error(`${method.path} has a REST ${part} of its own; describe it in openapi/forms.ts`);
}
