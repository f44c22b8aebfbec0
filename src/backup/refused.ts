/** What the state of a bucket or a file does not allow. Nothing is wrong with either; the sentence says what to do. */
export class BackupRefusedError extends Error {
  override readonly name = "BackupRefusedError";
}
