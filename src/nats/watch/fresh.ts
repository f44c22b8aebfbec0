/** One question for all who ask at once: each gets an answer that was asked for after its call began. */
export class Fresh<Answer> {
  private now: Promise<Answer> | undefined;
  private next: Promise<Answer> | undefined;

  constructor(private readonly ask: () => Promise<Answer>) {}

  get(): Promise<Answer> {
    if (this.now === undefined) return this.begin();
    const again = (): Promise<Answer> => this.begin();
    return (this.next ??= this.now.then(again, again));
  }

  private begin(): Promise<Answer> {
    const now = this.ask();
    this.now = now;
    this.next = undefined;
    const done = (): void => {
      if (this.now === now) this.now = undefined;
    };
    now.then(done, done);
    return now;
  }
}
