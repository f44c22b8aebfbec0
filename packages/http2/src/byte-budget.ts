/** Bytes that all connections together may hold. Above the limit, the connection that holds most must release some. */

export class ByteBudget {
  /** Bytes held now. */
  bytes = 0;
  private readonly accounts = new Set<ByteAccount>();

  constructor(readonly bytesMax: number) {}

  /** Opens an account. `release` must release some of its bytes at once, and is called again while too many are held. */
  open(release: () => void): ByteAccount {
    const account = new ByteAccount(this, release, () => void this.accounts.delete(account));
    this.accounts.add(account);
    return account;
  }

  /** Whether more bytes are held than allowed, and no account could release any. */
  get isExceeded(): boolean {
    return this.bytes > this.bytesMax;
  }

  /** Only accounts call this. */
  add(bytes: number): void {
    this.bytes += bytes;
    if (bytes <= 0) return;
    while (this.bytes > this.bytesMax) {
      const before = this.bytes;
      this.largest()?.release();
      if (this.bytes >= before) return;
    }
  }

  private largest(): ByteAccount | undefined {
    let largest: ByteAccount | undefined;
    for (const account of this.accounts)
      if (largest === undefined || account.bytes > largest.bytes) largest = account;
    return largest;
  }
}

/** The bytes of one holder. */
export class ByteAccount {
  bytes = 0;

  constructor(
    private readonly budget: ByteBudget,
    readonly release: () => void,
    private readonly onClosed: () => void,
  ) {}

  /** Counts bytes; a negative number counts released ones. May call `release`. */
  add(bytes: number): void {
    if (bytes === 0) return;
    this.bytes += bytes;
    this.budget.add(bytes);
  }

  /** Sets the number of bytes held. */
  set(bytes: number): void {
    this.add(bytes - this.bytes);
  }

  /** Releases everything. */
  close(): void {
    this.set(0);
    this.onClosed();
  }
}
