/** A unary call, from the request message to the response. */
import { RpcCall } from "./call.js";
import type { UnaryAnswer } from "./protocol.js";

export class UnaryCall extends RpcCall {
  received(): void {
    if (!this.isOver) void this.run(undefined);
  }

  /** Runs a call whose message did not arrive in a body. */
  answerTo(bytes: Uint8Array): void {
    this.listen();
    void this.run(bytes);
  }

  protected async fail(error: unknown): Promise<void> {
    if (this.isOver) return;
    this.finish();
    try {
      const answer = this.form.protocol.failure(this, this.connectErrorOf(error));
      this.send(answer instanceof Promise ? await answer : answer);
    } catch (fault) {
      this.giveUp(fault);
    }
  }

  /** Never rejects. */
  private async run(bytes: Uint8Array | undefined): Promise<void> {
    await this.answer(bytes);
    // Encoded and compressed: what is not sent yet counts as unsent.
    this.releaseHeld();
  }

  private async answer(bytes: Uint8Array | undefined): Promise<void> {
    const { route, form } = this.head;
    const { protocol, isBinary } = form;
    let framed: Buffer;
    try {
      const request = bytes === undefined ? this.body.end() : route.codec.decode(isBinary, bytes);
      const response = await this.settings.registry.unary(route.method, this, request);
      const encoded = route.codec.encodeInTurns(isBinary, response, protocol.headBytes, this.connection);
      framed = encoded instanceof Promise ? await encoded : encoded;
    } catch (error) {
      await this.fail(error);
      return;
    }
    if (this.isOver) return;
    this.finish();
    try {
      const answer = protocol.success(this, framed);
      this.send(answer instanceof Promise ? await answer : answer);
    } catch (fault) {
      this.giveUp(fault);
    }
  }

  private send({ status, headers, body, trailers }: UnaryAnswer): void {
    this.countSent(body?.length ?? 0);
    this.exchange.respond(status, headers, body, trailers);
  }
}
