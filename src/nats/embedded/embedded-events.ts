/** What the embedded server reports to the process that runs it. */
export interface EmbeddedEvents {
  /** Called when the server reports a full disk, before it is restarted. */
  readonly onFull?: (() => void) | undefined;
  /** Called when `EmbeddedNats.problem` changes. */
  readonly onProblem?: ((problem: string | undefined) => void) | undefined;
  /** Called at most once, if the server has ended and can't be restarted. */
  readonly onFatal?: ((error: Error) => void) | undefined;
}
