/** A unary call, from the request message to the response. */
import { RpcCall } from "../rpc/call.js";
import type { WireForm } from "../rpc/wire-form.js";
import type { Answer, AnswerMaker } from "./answer.js";
import { connectAnswers } from "./answer-connect.js";
import { grpcAnswers } from "./answer-grpc.js";
import { grpcWebAnswers } from "./answer-grpc-web.js";

const ANSWERS: Readonly<Record<WireForm["door"], AnswerMaker>> = {
  grpc: grpcAnswers,
  "grpc-web": grpcWebAnswers,
  connect: connectAnswers,
};

/** Subclasses implement it over HTTP/1.1 and HTTP/2. */
export abstract class UnaryCall extends RpcCall {
  /** Cancels the call when the client disconnects. */
  protected abstract listen(): void;
  /** Writes the response; called once. Throws if a header is invalid. */
  protected abstract write(answer: Answer): void;

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
      const answer = ANSWERS[this.door].failure(this, this.connectErrorOf(error));
      this.send(answer instanceof Promise ? await answer : answer);
    } catch (fault) {
      this.giveUp(fault);
    }
  }

  /** Never rejects. */
  private async run(bytes: Uint8Array | undefined): Promise<void> {
    const { route, form } = this.head;
    const answers = ANSWERS[form.door];
    let framed: Buffer;
    try {
      const request = bytes === undefined ? this.body.end() : route.codec.decode(form.isBinary, bytes);
      const response = await this.settings.registry.unary(route.method, this, request);
      framed = route.codec.encode(form.isBinary, response, answers.headBytes);
    } catch (error) {
      await this.fail(error);
      return;
    }
    if (this.isOver) return;
    this.finish();
    try {
      const answer = answers.success(this, framed);
      this.send(answer instanceof Promise ? await answer : answer);
    } catch (fault) {
      this.giveUp(fault);
    }
  }

  private send(answer: Answer): void {
    this.countSent(answer.body?.length ?? 0);
    this.write(answer);
  }
}
