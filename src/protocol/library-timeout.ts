/** Timeouts of calls that the Connect library answers. */
import { parseTimeout as parseConnectTimeout } from "@connectrpc/connect/protocol-connect";
import { parseTimeout as parseGrpcTimeout } from "@connectrpc/connect/protocol-grpc";

/** Slightly less than the longest delay of a Node timer, 2^31 - 1 milliseconds. */
const TIMER_MS_MAX = 2_147_483_000;

/** Caps timeouts at 24 days: the library's timer would expire at once beyond that. */
export function limitTimeout(headers: Headers): void {
  if ((parseGrpcTimeout(headers.get("grpc-timeout"), TIMER_MS_MAX).timeoutMs ?? 0) > TIMER_MS_MAX) {
    headers.set("grpc-timeout", `${TIMER_MS_MAX / 1_000}S`);
  }
  if ((parseConnectTimeout(headers.get("connect-timeout-ms"), TIMER_MS_MAX).timeoutMs ?? 0) > TIMER_MS_MAX) {
    headers.set("connect-timeout-ms", `${TIMER_MS_MAX}`);
  }
}
