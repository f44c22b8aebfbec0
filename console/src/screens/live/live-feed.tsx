import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Link } from "@tanstack/react-router";
import { type Entry, Operation } from "@ironflow-kv/client/gen";
import { type JSX, type KeyboardEvent, memo, useRef, useState } from "react";
import type { FeedEvent } from "../../live/event-feed.js";
import { useEventFeed } from "../../live/use-event-feed.js";
import { Button } from "../../ui/button.js";
import { formatBytes, formatCount, formatTime } from "../../ui/format.js";
import { KeyText } from "../../ui/key-text.js";
import { OperationBadge } from "../../ui/operation.js";
import { Sparkline } from "../../ui/sparkline.js";
import { Notice } from "../../ui/states.js";
import { useVirtualRows } from "../../ui/virtual-rows.js";
import { useAnchor } from "../keys/use-anchor.js";
import { formatsOf } from "../value/formats.js";
import { ValueContent } from "../value/value-content.js";

const OVERSCAN_ROWS = 8;
const STATES = {
  connecting: "Connecting",
  live: "Live",
  hidden: "Paused while hidden",
  away: "Reconnecting",
  refused: "Refused",
} as const;

export function LiveFeed({
  bucket,
  filter,
}: {
  readonly bucket: string;
  readonly filter: string;
}): JSX.Element {
  const feed = useEventFeed(bucket, filter);
  const [opened, setOpened] = useState<FeedEvent>();
  const { state, events, rates } = feed;
  const { watch, isPaused, waiting } = state;
  const now = rates.at(-2) ?? 0;
  return (
    <>
      <div className="card live-head">
        <div>
          <strong className="live-rate number">{formatCount(now)}</strong>{" "}
          <span className="soft">changes in the last second</span>
        </div>
        <Sparkline values={rates} label={`Changes in each of the last ${rates.length} seconds; now ${now}`} />
        <span className={`live live-${isPaused ? "paused" : watch.kind}`} role="status">
          {isPaused ? `Paused, ${formatCount(waiting)} waiting` : STATES[watch.kind]}
        </span>
        <Button icon={isPaused ? "play" : "pause"} onPress={() => feed.setPaused(!isPaused)}>
          {isPaused ? "Resume" : "Pause"}
        </Button>
        <Button
          variant="quiet"
          onPress={() => {
            feed.clear();
            setOpened(undefined);
          }}
        >
          Clear
        </Button>
      </div>
      {watch.kind === "refused" && (
        <Notice>
          {watch.sentence}{" "}
          <Button variant="quiet" onPress={() => feed.retryWatch()}>
            Try again
          </Button>
        </Notice>
      )}
      {state.hasGap && <Notice kind="warning">Some changes were missed while the service was away.</Notice>}
      <div className={`panes live-panes ${opened === undefined ? "" : "has-event"}`}>
        {events.length === 0 ? (
          <p className="card no-rows soft">
            No change yet. Each put, delete, purge and expiry appears here as it happens.
          </p>
        ) : (
          <EventRows events={events} opened={opened} onOpen={setOpened} />
        )}
        {opened === undefined ? (
          <p className="pane-hint soft">Choose an event to see the value that it wrote.</p>
        ) : (
          <EventDetail bucket={bucket} entry={opened.entry} onClose={() => setOpened(undefined)} />
        )}
      </div>
    </>
  );
}

interface EventRowsProps {
  readonly events: readonly FeedEvent[];
  readonly opened: FeedEvent | undefined;
  readonly onOpen: (event: FeedEvent) => void;
}

function EventRows({ events, opened, onOpen }: EventRowsProps): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualRows(scroller, events.length, OVERSCAN_ROWS);
  useAnchor(scroller, virtual, {
    pathAt: (index) => events[index] && eventId(events[index]),
    indexOf: (id) => {
      const index = events.findIndex((event) => eventId(event) === id);
      return index === -1 ? undefined : index;
    },
    isFollowedAtTop: true,
  });
  const shown = events.slice(virtual.first, virtual.end);
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const index = opened === undefined ? -1 : events.indexOf(opened);
    const next = events[Math.max(0, Math.min(events.length - 1, index + step))];
    if (next === undefined) return;
    onOpen(next);
    virtual.scrollToIndex(events.indexOf(next));
  };
  return (
    <div ref={scroller} className="card rows live-rows">
      <div
        className="rows-list"
        role="listbox"
        aria-label="Changes, newest first"
        tabIndex={0}
        aria-activedescendant={opened !== undefined && shown.includes(opened) ? eventId(opened) : undefined}
        style={{ height: virtual.height }}
        onKeyDown={onKeyDown}
      >
        <div
          role="presentation"
          className="rows-window"
          style={{ transform: `translateY(${virtual.offset}px)` }}
        >
          {shown.map((event) => (
            <EventRow key={event.id} event={event} isOpen={event === opened} onOpen={onOpen} />
          ))}
        </div>
      </div>
    </div>
  );
}

interface EventRowProps {
  readonly event: FeedEvent;
  readonly isOpen: boolean;
  readonly onOpen: (event: FeedEvent) => void;
}

/** Renders once: an event does not change. */
const EventRow = memo(function EventRow({ event, isOpen, onOpen }: EventRowProps): JSX.Element {
  const { entry } = event;
  const timeMs = entry.createdAt === undefined ? 0 : timestampMs(entry.createdAt);
  return (
    <div
      id={eventId(event)}
      role="option"
      aria-selected={isOpen}
      className={`row event-row ${isOpen ? "is-open" : ""}`}
      onClick={() => onOpen(event)}
    >
      <OperationBadge operation={entry.operation} />
      <KeyText value={entry.key} />
      <span className="spacer" />
      <span className="soft number">
        {entry.operation === Operation.PUT ? formatBytes(entry.value.length) : ""}
      </span>
      <span className="soft number event-time">{formatTime(timeMs).slice(11)}</span>
    </div>
  );
});

function eventId({ id }: FeedEvent): string {
  return `event-${id}`;
}

function EventDetail({
  bucket,
  entry,
  onClose,
}: {
  readonly bucket: string;
  readonly entry: Entry;
  readonly onClose: () => void;
}): JSX.Element {
  const { key, value, contentType, revision, operation } = entry;
  return (
    <section className="value" aria-label="Event">
      <header className="value-head">
        <h2 className="value-key">
          <KeyText value={key} />
        </h2>
        <Link to="/buckets/$bucket" params={{ bucket }} search={{ key }}>
          Open key
        </Link>
        <Button variant="quiet" icon="close" label="Close the event" onPress={onClose} />
      </header>
      <div className="value-body">
        <p>
          <OperationBadge operation={operation} />{" "}
          <span className="number soft">revision {formatCount(revision)}</span>
        </p>
        {operation === Operation.PUT && (
          <ValueContent
            bytes={value}
            contentType={contentType}
            form={formatsOf(value, contentType)[0] ?? "hex"}
            label="Value of the event"
          />
        )}
      </div>
    </section>
  );
}
