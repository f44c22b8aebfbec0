/** What the tests of the SDK share. */
import type { Transport } from "@connectrpc/connect";
import { expect } from "vitest";
import type { Bucket, ChangeEvent, KvError, WatchEvent } from "@ironflow-kv/client";

/** Expects a call to be refused with this class and these fields; returns the error. */
export async function refusal<Failure extends KvError>(
  call: Promise<unknown>,
  ErrorClass: abstract new (...facts: never[]) => Failure,
  fields: Readonly<Record<string, unknown>> = {},
): Promise<Failure> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error, `expected ${ErrorClass.name}`).toBeInstanceOf(ErrorClass);
  expect(error).toMatchObject(fields);
  return error as Failure;
}

/** A watch event in a line: `put a=1 @3`, `snapshot_end @3`. */
export function line(event: WatchEvent): string {
  if (!("key" in event)) return event.type === "progress" ? "progress" : `${event.type} @${event.revision}`;
  return `${event.type} ${event.key}${event.type === "put" ? `=${event.text()}` : ""} @${event.revision}`;
}

/** Reads so many events of a watch, as lines, and leaves it. */
export async function take(watch: AsyncIterable<WatchEvent>, count: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const event of watch) {
    lines.push(line(event));
    if (lines.length === count) break;
  }
  return lines;
}

/** Every key of a bucket with its text. */
export async function contents(bucket: Bucket): Promise<Map<string, string>> {
  const values = new Map<string, string>();
  for (const key of await bucket.listKeys()) values.set(key, (await bucket.get(key)).text());
  return values;
}

/** A transport that counts its unary calls, and resolves when so many have failed. */
export class CountingTransport implements Transport {
  calls = 0;
  private failures = 0;
  private waiting: { failures: number; resolve: () => void }[] = [];
  readonly stream: Transport["stream"];

  constructor(private readonly transport: Transport) {
    this.stream = (...call) => transport.stream(...call);
  }

  readonly unary: Transport["unary"] = async (...call) => {
    this.calls++;
    try {
      return await this.transport.unary(...call);
    } catch (error) {
      this.failures++;
      for (const { failures, resolve } of this.waiting) if (this.failures >= failures) resolve();
      throw error;
    }
  };

  async untilFailures(failures: number): Promise<void> {
    if (this.failures >= failures) return;
    await new Promise<void>((resolve) => this.waiting.push({ failures, resolve }));
  }
}

/** The next event; undefined when the watch has ended. */
export async function next(watch: AsyncIterator<ChangeEvent>): Promise<ChangeEvent | undefined> {
  const result = await watch.next();
  return result.done === true ? undefined : result.value;
}
