/** Counts the bytes of a body that passes by in pieces. */

/** The same pieces, each told of by its length. Ends however the body is ended. */
export function counted(
  body: AsyncIterable<Uint8Array>,
  count: (bytes: number) => void,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const pieces = body[Symbol.asyncIterator]();
      const tell = (result: IteratorResult<Uint8Array>): IteratorResult<Uint8Array> => {
        if (result.done !== true) count(result.value.length);
        return result;
      };
      return {
        next: () => pieces.next().then(tell),
        ...(pieces.return === undefined ? {} : { return: pieces.return.bind(pieces) }),
        ...(pieces.throw === undefined ? {} : { throw: pieces.throw.bind(pieces) }),
      };
    },
  };
}
