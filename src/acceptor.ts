/** Takes connections, in cleartext or under TLS. */
import { createServer as createNetServer, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer, type SecureContextOptions } from "node:tls";
import type { Limits } from "./kv/limits.js";

/** PEM texts. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  /** Who signs the certificates of clients; absent: they are not asked for one. */
  readonly clientCa?: string;
}

export interface AcceptorOptions {
  /** Undefined: cleartext. */
  readonly tls: TlsMaterial | undefined;
  /** Whether clients must show a certificate of `clientCa`, or may. Default: required. */
  readonly clientCertificates?: "required" | "optional" | undefined;
  readonly limits: Pick<Limits, "pingIntervalMs" | "peekTimeoutMs">;
}

/** A server that does not listen yet. In cleartext a connection has not said what it speaks; under TLS it has (ALPN). */
export function makeAcceptor(
  { tls, limits, clientCertificates }: AcceptorOptions,
  onSilent: (socket: Socket) => void,
  onKnown: (socket: Socket, protocol: "http1" | "http2") => void,
): NetServer {
  const tcp = { noDelay: true, keepAlive: true, keepAliveInitialDelay: limits.pingIntervalMs };
  if (tls === undefined) return createNetServer(tcp, onSilent);
  const acceptor = createTlsServer(
    {
      ...contextOf(tls),
      ...tcp,
      requestCert: tls.clientCa !== undefined,
      rejectUnauthorized: tls.clientCa !== undefined && clientCertificates !== "optional",
      ALPNProtocols: ["h2", "http/1.1"],
      handshakeTimeout: limits.peekTimeoutMs,
    },
    (socket) => onKnown(socket, socket.alpnProtocol === "h2" ? "http2" : "http1"),
  );
  // A failed handshake concerns that client alone. Where its time is up, Node leaves the connection open.
  acceptor.on("tlsClientError", (_error, socket) => socket.destroy());
  return acceptor;
}

export function contextOf({ cert, key, clientCa }: TlsMaterial): SecureContextOptions {
  return { cert, key, ...(clientCa === undefined ? {} : { ca: clientCa }) };
}
