/** The memory of one page that several calls may share: reserved while it is read, and held until the last of them has encoded its response. */
import type { CallContext } from "../../kv/call-context.js";
import type { HeldMemory } from "../../kv/held-memory.js";
import type { ReadMemory, ReservedMemory } from "./read-memory.js";

export class PageMemory {
  private reserved: ReservedMemory | undefined;
  /** The read itself, and the calls that have its page. */
  private users = 1;

  /** `bytesMax`: of the page and its encoded form. */
  constructor(
    private readonly memory: ReadMemory,
    private readonly bytesMax: number,
  ) {}

  /** Call it before more than a small part of the page is read. Throws `NoReplyError` when the context ends. */
  async reserve(context: CallContext): Promise<void> {
    this.reserved ??= await this.memory.reserve(this.bytesMax, this.bytesMax, context);
  }

  /** A call has the page. */
  share(held: HeldMemory): void {
    if (this.reserved === undefined) return;
    this.users++;
    held.add(() => this.leave());
  }

  /** The read has ended, or a call does not need the page any more. */
  leave(): void {
    if (--this.users === 0) this.reserved?.release();
  }
}
