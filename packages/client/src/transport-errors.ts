/** Causes of failed calls that the SDK's own transports tell apart. */

/** The server certainly did not process the request: no connection, or a refusal by HTTP/2. Any call may be repeated. */
export class NotProcessedError extends Error {
  override readonly name: string = "NotProcessedError";
}

/** The server does not speak HTTP/2. */
export class NotHttp2Error extends NotProcessedError {
  override readonly name = "NotHttp2Error";
}

/** The response exceeds `responseBytesMax`. */
export class ResponseTooLargeError extends Error {
  override readonly name = "ResponseTooLargeError";
}
