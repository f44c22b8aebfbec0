/** The client's address and certificate name. */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** The socket of a call's connection: itself over HTTP/1.1, its `socket` over HTTP/2. */
function socketOf(connection: object): Partial<Socket> {
  return (connection as { readonly socket?: Socket }).socket ?? connection;
}

/** The client's IP address; undefined once the connection is closed. */
export function remoteAddressOf(connection: object): string | undefined {
  return socketOf(connection).remoteAddress;
}

/** Cached by connection: reading a certificate costs more than many calls. */
const clientNames = new WeakMap<object, string | undefined>();

/** The common name of the client's verified certificate; undefined if there is no such certificate or name. */
export function clientNameOf(connection: object): string | undefined {
  if (clientNames.has(connection)) return clientNames.get(connection);
  const name = certifiedNameOf(socketOf(connection));
  clientNames.set(connection, name);
  return name;
}

function certifiedNameOf(socket: Partial<Socket>): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  // An array if the certificate has several.
  const name: unknown = socket.getPeerCertificate().subject.CN;
  return typeof name === "string" ? name : undefined;
}
