/**
 * Reads messages from what the socket received (the NATS client protocol: `MSG` and `HMSG` lines). The library's parser steps through a state
 * machine for each byte and allocates three slices for each message. Here a message that arrived whole takes one pass over its first line.
 * Everything else is left to the library: other operations, and messages that arrive in several reads.
 */
import {
  Kind,
  type Msg,
  type NatsConnection,
  NatsConnectionImpl,
  Parser,
  State,
  type Subscription,
} from "@nats-io/transport-node";
import { payloadBytes, replyBytes, subjectBytes } from "./messages.js";

/** Where the parts of a message stand in `bytes`. Valid only during the call that it is passed to. */
export interface Frame {
  readonly bytes: Uint8Array;
  readonly subjectStart: number;
  readonly subjectEnd: number;
  readonly replyStart: number;
  /** The same as `replyStart`: there is none. */
  readonly replyEnd: number;
  /** Headers, then the value. */
  readonly payloadStart: number;
  readonly payloadEnd: number;
  readonly headerBytes: number;
}

export type OnFrame = (frame: Frame) => void;

const LETTER_G = 71;
const LETTER_H = 72;
const LETTER_M = 77;
const LETTER_S = 83;
const SPACE = 32;
const CARRIAGE_RETURN = 13;
const NEWLINE = 10;
const ZERO = 48;
const LINE_END_BYTES = 2;
/** Beside its subscription: reply subject, size of the headers, size of headers and value. */
const TOKENS_MAX = 3;
/** As the library writes that a message has no headers. */
const NO_HEADERS = -1;

/** By the object that a parser passes messages to: whose messages, by subscription, are wanted as frames. */
const listeners = new WeakMap<object, Map<number, OnFrame>>();

/** Passes a subscription's messages to `onFrame`. Those that arrive in several reads still go to its own callback. */
export function listenToFrames(
  connection: NatsConnection,
  subscription: Subscription,
  onFrame: OnFrame,
): void {
  if (!(connection instanceof NatsConnectionImpl)) return;
  const { protocol } = connection;
  const id = subscription.getID();
  const bySubscription = listeners.get(protocol) ?? new Map<number, OnFrame>();
  listeners.set(protocol, bySubscription.set(id, onFrame));
  void subscription.closed.then(() => bySubscription.delete(id));
}

/** A message that arrived in several reads, as a frame. */
export function frameOf(message: Msg): Frame {
  const [subject, reply, payload] = [subjectBytes(message), replyBytes(message), payloadBytes(message)];
  const subjectEnd = subject.length;
  const replyEnd = subjectEnd + reply.length;
  return {
    ...{ bytes: Buffer.concat([subject, reply, payload]), subjectStart: 0, subjectEnd },
    ...{ replyStart: subjectEnd, replyEnd, payloadStart: replyEnd, payloadEnd: replyEnd + payload.length },
    headerBytes: payload.length - message.data.length,
  };
}

/** The frame that was read last. Reused: nothing is allocated for a message whose listener wants no more than its bytes. */
class CurrentFrame implements Frame {
  bytes: Uint8Array = new Uint8Array(0);
  subscription = 0;
  subjectStart = 0;
  subjectEnd = 0;
  replyStart = 0;
  replyEnd = 0;
  payloadStart = 0;
  payloadEnd = 0;
  headerBytes = 0;
  private readonly starts = new Int32Array(TOKENS_MAX);
  private readonly ends = new Int32Array(TOKENS_MAX);

  /** False: no message that arrived whole begins there, or it is not written as nats-server writes it. */
  read(from: number): boolean {
    const { bytes, starts, ends } = this;
    const { length } = bytes;
    const hasHeaders = bytes[from] === LETTER_H;
    let at = hasHeaders ? from + 1 : from;
    if (bytes[at] !== LETTER_M || bytes[at + 1] !== LETTER_S || bytes[at + 2] !== LETTER_G) return false;
    if (bytes[at + 3] !== SPACE) return false;
    this.subjectStart = at + 4;
    this.subjectEnd = at = endOfToken(bytes, at + 4, length);
    const subscriptionStart = at + 1;
    at = endOfToken(bytes, subscriptionStart, length);
    this.subscription = numberAt(bytes, subscriptionStart, at);
    let tokens = 0;
    while (bytes[at] === SPACE && tokens < TOKENS_MAX) {
      starts[tokens] = at + 1;
      ends[tokens] = at = endOfToken(bytes, at + 1, length);
      tokens++;
    }
    if (at + 1 >= length || bytes[at] !== CARRIAGE_RETURN || bytes[at + 1] !== NEWLINE) return false;
    const sizes = hasHeaders ? 2 : 1;
    if (tokens !== sizes && tokens !== sizes + 1) return false;
    const hasReply = tokens > sizes;
    this.replyStart = hasReply ? (starts[0] as number) : at;
    this.replyEnd = hasReply ? (ends[0] as number) : at;
    this.payloadStart = at + LINE_END_BYTES;
    const size = numberAt(bytes, starts[tokens - 1] as number, ends[tokens - 1] as number);
    this.headerBytes = hasHeaders
      ? numberAt(bytes, starts[tokens - 2] as number, ends[tokens - 2] as number)
      : 0;
    this.payloadEnd = this.payloadStart + size;
    const isComplete = this.payloadEnd + LINE_END_BYTES <= length && this.headerBytes <= size;
    return isComplete && this.subscription > 0 && bytes[this.payloadEnd] === CARRIAGE_RETURN;
  }
}

const frame = new CurrentFrame();

function endOfToken(bytes: Uint8Array, from: number, length: number): number {
  let at = from;
  while (at < length && (bytes[at] as number) > SPACE) at++;
  return at;
}

/** NaN: it is no number. */
function numberAt(bytes: Uint8Array, start: number, end: number): number {
  let number = start === end ? NaN : 0;
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] as number) - ZERO;
    number = digit >= 0 && digit <= 9 ? number * 10 + digit : NaN;
  }
  return number;
}

/** Passes on the messages that stand there whole, one after the other. Returns where they end. */
function readMessages({ dispatcher }: Parser, received: Uint8Array, from: number): number {
  const bySubscription = listeners.get(dispatcher);
  let at = from;
  for (;;) {
    // A listener may have begun to read something else.
    frame.bytes = received;
    if (!frame.read(at)) return at;
    at = frame.payloadEnd + LINE_END_BYTES;
    const onFrame = bySubscription?.get(frame.subscription);
    if (onFrame !== undefined) onFrame(frame);
    else dispatcher.push(eventOf(frame));
  }
}

/** A message as the library's parser passes it on. */
function eventOf(at: CurrentFrame): Event {
  const { bytes } = at;
  const subject = bytes.subarray(at.subjectStart, at.subjectEnd);
  const data = bytes.subarray(at.payloadStart, at.payloadEnd);
  const message = { subject, sid: at.subscription, hdr: at.headerBytes || NO_HEADERS, size: data.length };
  if (at.replyStart === at.replyEnd) return { kind: Kind.MSG, msg: message, data };
  const reply = bytes.subarray(at.replyStart, at.replyEnd);
  return { kind: Kind.MSG, msg: { ...message, reply }, data };
}

type Event = Parameters<Parser["dispatcher"]["push"]>[0];

/** Where the operation ends that begins there, or that the parser has begun to read; at most the end of what was received. */
function endOfOperation({ state, ma, msgBuf }: Parser, received: Uint8Array, at: number): number {
  const isMessage = received[at] === LETTER_M || received[at] === LETTER_H;
  if (state === State.OP_START && isMessage) return received.length;
  if (state === State.MSG_PAYLOAD && msgBuf !== undefined)
    return Math.min(received.length, at + ma.size - msgBuf.length + LINE_END_BYTES);
  const newline = received.indexOf(NEWLINE, at);
  return newline < 0 ? received.length : newline + 1;
}

/** Replaces the parser of the library, which stays in use for what is not read here. */
export function readFrames(): void {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with its object below
  const { parse } = Parser.prototype;
  Parser.prototype.parse = function (this: Parser, received: Uint8Array): void {
    for (let at = 0; at < received.length;) {
      if (this.state === State.OP_START) at = readMessages(this, received, at);
      const end = endOfOperation(this, received, at);
      if (at < end) parse.call(this, received.subarray(at, end));
      at = end;
      // The library's buffer doubles: a megabyte would be allocated, cleared and copied several times.
      const { msgBuf, ma } = this;
      if (msgBuf !== undefined && msgBuf.capacity < ma.size) msgBuf.grow(ma.size - msgBuf.length);
    }
  };
}
