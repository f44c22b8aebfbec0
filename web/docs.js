// Renders /openapi.json: the operations by service, each with its parameters, body and responses.

/** The maximum nesting depth of schemas. */
const DEPTH_MAX = 4;

const find = document.getElementById("find");

async function start() {
  try {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new Error(`/openapi.json can't be read: status ${response.status}.`);
    show(await response.json());
  } catch (error) {
    const problem = document.getElementById("problem");
    problem.hidden = false;
    problem.textContent = error.message;
  }
}

function show(api) {
  document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
  document.getElementById("introduction").append(...prose(api.info.description));
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );
  const tags = [...new Set(operations.flatMap(({ operation }) => operation.tags))];
  const sections = tags.map((tag) => {
    const about = api.tags.find(({ name }) => name === tag)?.description ?? "";
    const own = operations.filter(({ operation }) => operation.tags.includes(tag));
    return make("section", make("h2", tag), ...prose(about), ...own.map((one) => operationElement(api, one)));
  });
  document.getElementById("operations").append(...sections);
  find.addEventListener("input", filter);
  openLinked();
  addEventListener("hashchange", openLinked);
}

function operationElement(api, { path, method, operation }) {
  const title = make(
    "summary",
    make("b", method.toUpperCase()),
    make("code", path),
    make("span", ` ${operation.summary}`),
  );
  const element = make("details", title, ...prose(operation.description ?? ""));
  element.id = operation.operationId ?? path.slice(1);
  element.dataset.words = `${method} ${path} ${JSON.stringify(operation)}`.toLowerCase();
  const parameters = (operation.parameters ?? []).map((parameter) => resolve(api, parameter));
  if (parameters.length > 0) {
    const rows = parameters.flatMap((parameter) => {
      const place = parameter.required ? parameter.in : `${parameter.in}, optional`;
      return term(parameter.name, `${place}, ${typeOf(api, parameter.schema)}`, prose(parameter.description));
    });
    element.append(make("h3", "Parameters"), make("dl", ...rows));
  }
  if (operation.requestBody) element.append(make("h3", "Body"), contentElement(api, operation.requestBody));
  element.append(make("h3", "Responses"));
  const responses = Object.entries(operation.responses).flatMap(([status, response]) => {
    const headers = Object.entries(response.headers ?? {}).flatMap(([name, { description }]) =>
      term(name, "header", prose(description)),
    );
    return term(status, "", [
      ...prose(response.description),
      make("dl", ...headers),
      ...(response.content ? [contentElement(api, response)] : []),
    ]);
  });
  element.append(make("dl", ...responses));
  return element;
}

function contentElement(api, { content }) {
  const types = Object.entries(content).flatMap(([type, { schema }]) =>
    schema === undefined
      ? term(type, "bytes", [])
      : term(type, typeOf(api, schema), [schemaElement(api, schema, 0)]),
  );
  return make("dl", ...types);
}

/** The members of an object and of nested objects. */
function schemaElement(api, given, depth) {
  const schema = resolve(api, given);
  if (depth > DEPTH_MAX) return make("span");
  if (schema.type === "array") return schemaElement(api, schema.items, depth + 1);
  if (schema.oneOf) return make("div", ...schema.oneOf.map((one) => schemaElement(api, one, depth + 1)));
  const members = Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const isOptional = !(schema.required ?? []).includes(name);
    const about = prose(member.description ?? resolve(api, member).description ?? "");
    return term(name, `${typeOf(api, member)}${isOptional ? ", optional" : ""}`, [
      ...about,
      schemaElement(api, member, depth + 1),
    ]);
  });
  return make("dl", ...members);
}

function typeOf(api, given) {
  const schema = resolve(api, given);
  if (schema.type === "array") return `list of ${typeOf(api, schema.items)}`;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const any = schema.anyOf ?? schema.oneOf;
  if (any) return [...new Set(any.map((one) => typeOf(api, one)))].join(" or ");
  const detail = schema.format ?? schema.contentEncoding;
  return detail === undefined ? (schema.type ?? "any") : `${schema.type} (${detail})`;
}

function resolve(api, value) {
  if (value.$ref === undefined) return value;
  return value.$ref
    .slice(2)
    .split("/")
    .reduce((place, name) => place[name], api);
}

function term(name, type, about) {
  return [make("dt", make("code", name), ` ${type}`), make("dd", ...about)];
}

/** Converts text to paragraphs, with `code` spans. */
function prose(text) {
  return text
    .split("\n\n")
    .filter((paragraph) => paragraph !== "")
    .map((paragraph) => {
      const parts = paragraph.split("`");
      return make("p", ...parts.map((part, index) => (index % 2 === 1 ? make("code", part) : part)));
    });
}

function make(name, ...children) {
  const element = document.createElement(name);
  element.append(...children);
  return element;
}

function filter() {
  const wanted = find.value.toLowerCase().trim();
  for (const element of document.querySelectorAll("details")) {
    element.hidden = !element.dataset.words.includes(wanted);
  }
}

function openLinked() {
  const element = document.getElementById(location.hash.slice(1));
  if (element?.tagName === "DETAILS") element.open = true;
}

start();
