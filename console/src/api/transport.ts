/** The transports of all calls, one for each environment: Connect over fetch, with the API key of the session. */
import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { recordCall } from "./call-times.js";
import { markAway, markBack } from "./connection.js";
import { currentSession, refuseSession } from "./session.js";

export const ENVIRONMENT_HEADER = "X-Ironflow-Environment";

const session: Interceptor = (next) => async (request) => {
  const { apiKey } = currentSession();
  if (apiKey !== "") request.header.set("authorization", `Bearer ${apiKey}`);
  const startMs = performance.now();
  try {
    const response = await next(request);
    recordCall(request.method.name, request.message, performance.now() - startMs);
    markBack();
    return response.stream ? { ...response, message: noteFailure(response.message, apiKey) } : response;
  } catch (error) {
    throw noted(error, apiKey);
  }
};

/** A stream can fail after it began: a watch ends when its API key expires. */
async function* noteFailure<Message>(
  messages: AsyncIterable<Message>,
  apiKey: string,
): AsyncIterable<Message> {
  try {
    yield* messages;
  } catch (error) {
    throw noted(error, apiKey);
  }
}

/** Records what the failure of a call says about the service and the session. Returns the failure. */
function noted(error: unknown, apiKey: string): ConnectError {
  const failure = ConnectError.from(error);
  if (isUnreachable(failure)) markAway();
  else if (failure.code !== Code.Canceled) markBack();
  if (failure.code === Code.Unauthenticated) refuseSession(apiKey, failure.rawMessage);
  return failure;
}

/** Whether no response arrived, or only that of a proxy. */
export function isUnreachable(error: ConnectError): boolean {
  return error.cause instanceof TypeError || error.code === Code.Unavailable;
}

const transports = new Map<string, Transport>();

/** Returns the same transport for the same environment. */
export function transportOf(environment: string): Transport {
  const known = transports.get(environment);
  if (known !== undefined) return known;
  const inEnvironment: Interceptor = (next) => (request) => {
    request.header.set(ENVIRONMENT_HEADER, environment);
    return next(request);
  };
  const transport = createConnectTransport({
    baseUrl: location.origin,
    useBinaryFormat: true,
    interceptors: [session, inEnvironment],
  });
  transports.set(environment, transport);
  return transport;
}
