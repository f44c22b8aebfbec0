/** Who is at the other end of a connection. */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** The socket of what a call names as its connection: the socket itself over HTTP/1.1, a connection that has one over HTTP/2. */
function socketOf(connection: object): Partial<Socket> {
  return (connection as { readonly socket?: Socket }).socket ?? connection;
}

/** The client's IP address; undefined when the connection is gone. */
export function remoteAddressOf(connection: object): string | undefined {
  return socketOf(connection).remoteAddress;
}

/** By connection: reading a certificate costs more than many a call. */
const clientNames = new WeakMap<object, string | undefined>();

/** The common name of the client's certificate; undefined where there is none that was verified, or it has no such name. */
export function clientNameOf(connection: object): string | undefined {
  if (clientNames.has(connection)) return clientNames.get(connection);
  const name = certifiedNameOf(socketOf(connection));
  clientNames.set(connection, name);
  return name;
}

function certifiedNameOf(socket: Partial<Socket>): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  // A certificate that has several gives a list.
  const name: unknown = socket.getPeerCertificate().subject.CN;
  return typeof name === "string" ? name : undefined;
}
