/** Errors of calls, as sentences for people. */
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorDetailSchema, type ErrorDetail } from "@ironflow-kv/client/gen";

/** What went wrong, in the service's words. */
export function sentenceOf(error: unknown): string {
  const { rawMessage, cause, code } = ConnectError.from(error);
  if (cause instanceof TypeError) return "The service can't be reached.";
  return rawMessage === "" ? `The call failed: ${Code[code]}.` : rawMessage;
}

export function detailOf(error: unknown): ErrorDetail | undefined {
  return ConnectError.from(error).findDetails(ErrorDetailSchema)[0];
}

export function hasCode(error: unknown, ...codes: readonly Code[]): boolean {
  return error instanceof ConnectError && codes.includes(error.code);
}

/** Whether the service answered and another attempt would get the same answer. */
export function isFinal(error: unknown): boolean {
  return !hasCode(error, Code.Unavailable, Code.DeadlineExceeded, Code.Unknown, Code.Internal);
}
