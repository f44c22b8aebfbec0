/** The contract's comments by the full name of the element they document: `ironflow.kv.v1.KeyValueService.Get`. */
import type {
  DescriptorProto,
  EnumDescriptorProto,
  FileDescriptorProto,
  FileDescriptorSet,
} from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { statusOf } from "../rest/errors.js";

/** Comments by full name; elements without a comment are absent. */
export type Comments = ReadonlyMap<string, string>;

/** Reads comments from descriptors with source information. The path numbers are those of descriptor.proto (`SourceCodeInfo.Location.path`). */
export function readComments(files: FileDescriptorSet): Comments {
  const comments = new Map<string, string>();
  for (const file of files.file) readFile(file, comments);
  return comments;
}

function readFile(file: FileDescriptorProto, comments: Map<string, string>): void {
  const byPath = new Map<string, string>();
  for (const { path, leadingComments } of file.sourceCodeInfo?.location ?? []) {
    if (leadingComments !== "") byPath.set(path.join("."), leadingComments.replace(/^ /gm, "").trim());
  }
  const add = (name: string, path: string): void => {
    const comment = byPath.get(path);
    if (comment !== undefined) comments.set(name, comment);
  };
  const addEnum = (one: EnumDescriptorProto, name: string, path: string): void => {
    add(name, path);
    one.value.forEach((value, index) => add(`${name}.${value.name}`, `${path}.2.${index}`));
  };
  const addMessage = (message: DescriptorProto, name: string, path: string): void => {
    add(name, path);
    message.field.forEach((field, index) => add(`${name}.${field.name}`, `${path}.2.${index}`));
    message.nestedType.forEach((one, index) => addMessage(one, `${name}.${one.name}`, `${path}.3.${index}`));
    message.enumType.forEach((one, index) => addEnum(one, `${name}.${one.name}`, `${path}.4.${index}`));
  };
  const within = `${file.package}.`;
  file.messageType.forEach((one, index) => addMessage(one, within + one.name, `4.${index}`));
  file.enumType.forEach((one, index) => addEnum(one, within + one.name, `5.${index}`));
  file.service.forEach((service, index) => {
    add(within + service.name, `6.${index}`);
    service.method.forEach((method, place) =>
      add(`${within}${service.name}.${method.name}`, `6.${index}.2.${place}`),
    );
  });
}

/** A comment without its list of errors, with its lines joined into paragraphs. */
export function descriptionOf(comment: string): string {
  const blocks = comment.split(/\n\s*\n/).filter((block) => !isErrorList(block));
  return blocks.map((block) => block.replace(/\s*\n\s*/g, " ")).join("\n\n");
}

/** An error that a comment documents. */
export interface DocumentedError {
  readonly status: number;
  /** Empty if the comment names none. */
  readonly reasons: readonly string[];
  readonly sentence: string;
}

/** The errors that a comment lists: `  * CODE (`reason`): sentence.` Throws if a line is malformed. */
export function errorsOf(comment: string): DocumentedError[] {
  const lists = comment.split(/\n\s*\n/).filter(isErrorList);
  return lists
    .flatMap((list) => list.split(/\n\s*\* /).slice(1))
    .flatMap((item) => readError(item.replace(/\s*\n\s*/g, " ")));
}

function isErrorList(block: string): boolean {
  return /^Errors\b[^\n]*:$/m.test(block) && block.includes("\n  * ");
}

function readError(item: string): DocumentedError[] {
  const found = /^([A-Z_]+(?:, [A-Z_]+)*)(?: \(([^)]*)\))?: (.+)$/s.exec(item);
  const [, codes = "", reasonList = "", sentence = ""] = found ?? [];
  const reasons = [...reasonList.matchAll(/`(\w+)`/g)].map(([, reason = ""]) => reason);
  return codes.split(", ").flatMap((name) => {
    const code = CODE_BY_NAME.get(name);
    if (code === undefined)
      throw new Error(`a comment lists the error ${JSON.stringify(item)}, which has no code`);
    if (reasons.length === 0) return [{ status: statusOf(code, ""), reasons, sentence }];
    return reasons.map((reason) => ({ status: statusOf(code, reason), reasons: [reason], sentence }));
  });
}

/** By gRPC name, such as INVALID_ARGUMENT. */
const CODE_BY_NAME: ReadonlyMap<string, Code> = new Map(
  Object.values(Code)
    .filter((code) => typeof code === "number")
    .map((code) => [Code[code].replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toUpperCase(), code]),
);
