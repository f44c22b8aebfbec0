/** The operation is not allowed in the current state of a bucket or file. The message says what to do. */
export class BackupRefusedError extends Error {
  override readonly name = "BackupRefusedError";
}
