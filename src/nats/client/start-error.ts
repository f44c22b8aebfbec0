/** Something that keeps the service from starting, or from going on. The message is one line for whoever runs it; not for clients. */
export class StartError extends Error {
  override readonly name = "StartError";

  constructor(sentence: string, cause?: unknown) {
    super(sentence, cause === undefined ? undefined : { cause });
  }
}
