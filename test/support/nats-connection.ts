/** Connections of tests to nats-server. */
import { connect as connectNats, type ConnectionOptions, type NatsConnection } from "@nats-io/transport-node";

/** What a busy machine needs for an answer that an idle one has at once. The client's own default is a second. */
const REQUEST_TIMEOUT_MS = 60_000;

export async function connect(options: ConnectionOptions): Promise<NatsConnection> {
  return withPatience(await connectNats(options));
}

/** Lets requests that name no time wait for long. */
export function withPatience(connection: NatsConnection): NatsConnection {
  const request = connection.request.bind(connection);
  connection.request = (subject, payload, options) =>
    request(subject, payload, options ?? { timeout: REQUEST_TIMEOUT_MS });
  return connection;
}
