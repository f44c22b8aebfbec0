/** The state of a bucket or file does not allow the operation; neither is damaged. The message says what to do. */
export class BackupRefusedError extends Error {
  override readonly name = "BackupRefusedError";
}
