/** Deletes many keys, a few at a time. */
import type { KeyValueClient } from "../../api/clients.js";

const AT_ONCE = 8;

/** Deletes the keys; resolves with the first error, or undefined. Stops at the first error. */
export async function deleteKeys(
  keyValue: KeyValueClient,
  bucket: string,
  keys: readonly string[],
  purge: boolean,
  onProgress: (done: number) => void,
): Promise<unknown> {
  const left = [...keys];
  let done = 0;
  let failure: unknown;
  const work = async (): Promise<void> => {
    for (let key = left.pop(); key !== undefined && failure === undefined; key = left.pop()) {
      try {
        await keyValue.delete({ bucket, key, purge });
        onProgress(++done);
      } catch (error) {
        failure ??= error;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return failure;
}
