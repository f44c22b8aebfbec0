/** What metrics show of the connections with clients. */
export interface WireState {
  /** Open connections. */
  readonly connections: number;
  /** GOAWAY frames sent, by the name of their error code. */
  readonly goAways: ReadonlyMap<string, number>;
  /** RST_STREAM frames sent, by the name of their error code. */
  readonly resets: ReadonlyMap<string, number>;
  /** RST_STREAM frames received for open streams. */
  readonly clientResets: number;
  /** Bytes of request bodies without a response. */
  readonly incompleteRequestBytes: number;
  /** Bytes of responses that wait to be sent. */
  readonly unsentResponseBytes: number;
}
