export function createUnaryFastPath(_o: unknown) {
  return {
    handleHttp1: (_a: unknown, _b: unknown): boolean => false,
    handleHttp2: (_a: unknown, _b: unknown, _c: unknown): boolean => false,
  };
}
