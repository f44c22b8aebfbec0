/** The transport of all calls: Connect over fetch, with the API key of the session. */
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { recordCall } from "./call-times.js";
import { markAway, markBack } from "./connection.js";
import { currentSession, refuseSession } from "./session.js";

const session: Interceptor = (next) => async (request) => {
  const { apiKey } = currentSession();
  if (apiKey !== "") request.header.set("authorization", `Bearer ${apiKey}`);
  const startMs = performance.now();
  try {
    const response = await next(request);
    recordCall(request.method.name, performance.now() - startMs);
    markBack();
    return response;
  } catch (error) {
    const failure = ConnectError.from(error);
    if (isUnreachable(failure)) markAway();
    else if (failure.code !== Code.Canceled) markBack();
    if (failure.code === Code.Unauthenticated) refuseSession(apiKey, failure.rawMessage);
    throw failure;
  }
};

/** Whether no response arrived, or only that of a proxy. */
export function isUnreachable(error: ConnectError): boolean {
  return error.cause instanceof TypeError || error.code === Code.Unavailable;
}

export const transport = createConnectTransport({
  baseUrl: location.origin,
  useBinaryFormat: true,
  interceptors: [session],
});
