/** The service can't start or continue. The message is one line for the operator, never sent to clients. */
export class StartError extends Error {
  override readonly name = "StartError";

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
  }
}
