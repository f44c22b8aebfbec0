/** Accepts connections, in cleartext or over TLS. */
import { constants } from "node:crypto";
import { createServer as createNetServer, type Server as NetServer, type Socket } from "node:net";
import { createServer as createTlsServer, type SecureContextOptions } from "node:tls";
import type { Limits } from "../kv/limits.js";
import { writeInPieces } from "./tls-pieces.js";

/** PEM-encoded. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  /** The CA that signs client certificates. Absent: clients are not asked for a certificate. */
  readonly clientCa?: string;
}

/**
 * Ephemeral key exchange and AEAD only: all other cipher suites of TLS 1.2 are prohibited for HTTP/2 (RFC 9113 section 9.2.2 and appendix A),
 * which the client may choose after the cipher suite.
 */
const CIPHERS = [
  ...["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"],
  ...["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"],
  ...["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"],
  ...["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"],
].join(":");

export interface AcceptorOptions {
  /** Undefined: cleartext. */
  readonly tls: TlsMaterial | undefined;
  /** Whether clients must or may present a certificate signed by `clientCa`. Default: required. */
  readonly clientCertificates?: "required" | "optional" | undefined;
  readonly limits: Pick<Limits, "pingIntervalMs" | "peekTimeoutMs">;
}

/** Creates a server that is not listening yet. Over TLS, ALPN gives the protocol; in cleartext it is not known yet. */
export function makeAcceptor(
  { tls, limits, clientCertificates }: AcceptorOptions,
  onUndetected: (socket: Socket) => void,
  onDetected: (socket: Socket, protocol: "http1" | "http2") => void,
): NetServer {
  const tcp = { noDelay: true, keepAlive: true, keepAliveInitialDelay: limits.pingIntervalMs };
  if (tls === undefined) return createNetServer(tcp, onUndetected);
  const acceptor = createTlsServer(
    {
      ...contextOf(tls),
      ...tcp,
      requestCert: tls.clientCa !== undefined,
      rejectUnauthorized: tls.clientCa !== undefined && clientCertificates !== "optional",
      ALPNProtocols: ["h2", "http/1.1"],
      handshakeTimeout: limits.peekTimeoutMs,
    },
    (socket) => {
      writeInPieces(socket);
      onDetected(socket, socket.alpnProtocol === "h2" ? "http2" : "http1");
    },
  );
  // A failed handshake affects only its own client. After a handshake timeout, Node leaves the connection open.
  acceptor.on("tlsClientError", (_error, socket) => socket.destroy());
  return acceptor;
}

export function contextOf({ cert, key, clientCa }: TlsMaterial): SecureContextOptions {
  return {
    cert,
    key,
    ciphers: CIPHERS,
    // RFC 9113 section 9.2.1: no renegotiation with HTTP/2.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    ...(clientCa === undefined ? {} : { ca: clientCa }),
  };
}
