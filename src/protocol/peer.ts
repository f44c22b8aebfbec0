/** The client's address and certificate name. */
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

/** The client's IP address; undefined once the connection is closed. */
export function remoteAddressOf(socket: Duplex): string | undefined {
  return socket instanceof Socket ? socket.remoteAddress : undefined;
}

/** Cached by connection: reading a certificate costs more than many calls. */
const clientNames = new WeakMap<Duplex, string | undefined>();

/** The common name of the client's verified certificate; undefined if there is no such certificate or name. */
export function clientNameOf(socket: Duplex): string | undefined {
  if (clientNames.has(socket)) return clientNames.get(socket);
  const name = certifiedNameOf(socket);
  clientNames.set(socket, name);
  return name;
}

function certifiedNameOf(socket: Duplex): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  // An array if the certificate has several.
  const name: unknown = socket.getPeerCertificate().subject.CN;
  return typeof name === "string" ? name : undefined;
}
