/** Counts the bytes of a streamed body. */

/** Passes the chunks through and calls `count` with the size of each. Forwards `return` and `throw`. */
export function counted(
  body: AsyncIterable<Uint8Array>,
  count: (bytes: number) => void,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const pieces = body[Symbol.asyncIterator]();
      const counting = (result: IteratorResult<Uint8Array>): IteratorResult<Uint8Array> => {
        if (result.done !== true) count(result.value.length);
        return result;
      };
      return {
        next: () => pieces.next().then(counting),
        ...(pieces.return === undefined ? {} : { return: pieces.return.bind(pieces) }),
        ...(pieces.throw === undefined ? {} : { throw: pieces.throw.bind(pieces) }),
      };
    },
  };
}
