/** The messages of a stream. */
export interface QueuedMessages<Message> extends AsyncIterator<Message, undefined> {
  /** The next message if it has arrived: one promise less for each. Only the transport of Node has this. Throws if it can't be decoded. */
  takeArrived?(): Message | undefined;
}
