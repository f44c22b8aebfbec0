/** The head of a request that Node has parsed. */
import type { IncomingHttpHeaders, IncomingMessage } from "node:http";

export abstract class NodeRequest {
  constructor(readonly request: IncomingMessage) {}

  get method(): string {
    return this.request.method ?? "";
  }
  get target(): string {
    return this.request.url ?? "";
  }
  get headers(): IncomingHttpHeaders {
    return this.request.headers;
  }
  get authority(): string | undefined {
    return this.request.headers.host;
  }
}
