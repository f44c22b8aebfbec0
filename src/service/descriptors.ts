/** The file descriptors of the services, indexed for reflection: by name, by symbol, by extension. */
import {
  type DescExtension,
  type DescFile,
  type DescMessage,
  type DescService,
  toBinary,
} from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";

export class Descriptors {
  private readonly files = new Map<string, DescFile>();
  private readonly fileBySymbol = new Map<string, DescFile>();
  /** By the extended message. */
  private readonly extensions = new Map<string, DescExtension[]>();
  private readonly messages = new Set<string>();

  constructor(private readonly served: readonly DescService[]) {
    for (const service of served) this.addFile(service.file);
  }

  /** The full names of the services, sorted. */
  get services(): readonly string[] {
    return this.served.map(({ typeName }) => typeName).sort();
  }

  fileByName(name: string): DescFile | undefined {
    return this.files.get(name);
  }

  /** The file that declares a service, method, message, field, enum, enum value or extension, by its full name. */
  fileBySymbolName(symbol: string): DescFile | undefined {
    return this.fileBySymbol.get(symbol);
  }

  /** The file that declares the extension of a message with this number. */
  fileByExtension(message: string, number: number): DescFile | undefined {
    return this.extensions.get(message)?.find((extension) => extension.number === number)?.file;
  }

  /** The numbers of a message's extensions, sorted; undefined if there is no such message. */
  extensionNumbers(message: string): readonly number[] | undefined {
    if (!this.messages.has(message)) return undefined;
    return (this.extensions.get(message) ?? []).map(({ number }) => number).sort((a, b) => a - b);
  }

  /** A file and its transitive imports, itself first, as encoded FileDescriptorProtos. This saves clients a request per import. */
  withImports(file: DescFile): Uint8Array[] {
    const files = new Set([file]);
    // Iterating a set includes elements that are added meanwhile.
    for (const one of files) for (const dependency of one.dependencies) files.add(dependency);
    return [...files].map((one) => toBinary(FileDescriptorProtoSchema, one.proto));
  }

  private addFile(file: DescFile): void {
    if (this.files.has(file.proto.name)) return;
    this.files.set(file.proto.name, file);
    for (const dependency of file.dependencies) this.addFile(dependency);
    for (const type of nestedTypes(file)) {
      if (type.kind === "message") this.addMessage(type, file);
      if (type.kind === "extension") this.addExtension(type);
      this.fileBySymbol.set(type.typeName, file);
      if (type.kind === "service") {
        for (const { name } of type.methods) this.fileBySymbol.set(`${type.typeName}.${name}`, file);
      }
      if (type.kind === "enum") {
        // The full name of an enum value is in the scope of its enum, not within it.
        const scope = type.typeName.slice(0, -type.name.length);
        for (const { name } of type.values) this.fileBySymbol.set(scope + name, file);
      }
    }
  }

  private addMessage(message: DescMessage, file: DescFile): void {
    this.messages.add(message.typeName);
    for (const { name } of [...message.fields, ...message.oneofs]) {
      this.fileBySymbol.set(`${message.typeName}.${name}`, file);
    }
  }

  private addExtension(extension: DescExtension): void {
    const extended = extension.extendee.typeName;
    const known = this.extensions.get(extended);
    if (known === undefined) this.extensions.set(extended, [extension]);
    else known.push(extension);
  }
}
