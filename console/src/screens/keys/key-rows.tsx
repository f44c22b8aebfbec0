/** The virtual list of keys. What the user reads stays in place while keys come and go: rows above it change the scroll position. */
import {
  type JSX,
  type KeyboardEvent,
  memo,
  type MouseEvent,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
} from "react";
import type { KeyList } from "../../live/key-list.js";
import { elementId } from "../../ui/element-id.js";
import { Icon } from "../../ui/icons.js";
import { KeyText } from "../../ui/key-text.js";
import { operationName } from "../../ui/operation.js";
import { ROW_PIXELS, useVirtualRows } from "../../ui/virtual-rows.js";
import { useAnchor } from "./use-anchor.js";
import { type ScrollPlace, useScrollPlace } from "./use-scroll-place.js";

const OVERSCAN_ROWS = 12;
/** The next page is loaded when fewer rows than this are left. */
const ROWS_LEFT_MIN = 300;

/** One for all rows: React passes over an element that is the same as before. */
const CHECKBOX = (
  <span className="checkbox-box">
    <Icon name="check" />
  </span>
);

export interface KeyRowsProps {
  readonly list: KeyList;
  readonly place: ScrollPlace;
  readonly openKey: string | undefined;
  readonly selection: ReadonlySet<string>;
  readonly onOpen: (key: string) => void;
  readonly onSelect: (selection: ReadonlySet<string>) => void;
}

export function KeyRows({ list, place, openKey, selection, onOpen, onSelect }: KeyRowsProps): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const { keys, marks, state } = list;
  const [active, setActive] = useState<string | undefined>(openKey);
  const virtual = useVirtualRows(scroller, keys.length, OVERSCAN_ROWS);
  const pathAt = (index: number): string | undefined => keys[index];
  const isByTime = list.order === "changed";
  useAnchor(scroller, virtual, {
    pathAt,
    // In the order of changes, a key that has just changed moved away on its own.
    indexOf: (key) => (isByTime && marks.has(key) ? undefined : list.indexOf(key)),
    isFollowedAtTop: isByTime,
    origin: list.origin,
  });
  useScrollPlace(scroller, virtual, place, { pathAt, locate: (key) => list.locate(key) });
  const { first, end } = virtual;
  const shown = keys.slice(first, end);
  const hasStart = list.hasAll("before");
  const hasEnd = list.hasAll("after");
  useEffect(() => {
    if (state.error !== undefined || state.isLoading) return;
    // Not `first` and `end`: what was rendered may have moved since.
    const [firstVisible, endVisible] = virtual.visible();
    if (!hasEnd && endVisible + ROWS_LEFT_MIN > keys.length) void list.loadMore("after");
    else if (!hasStart && firstVisible < ROWS_LEFT_MIN) void list.loadMore("before");
  });

  const { origin } = list;
  const shownOrigin = useRef(origin);
  useLayoutEffect(() => {
    const hasJumped = shownOrigin.current !== origin;
    shownOrigin.current = origin;
    // `useScrollPlace` scrolls to a key.
    if (hasJumped && origin.start === "first") moveTo(0, false);
    if (hasJumped && origin.start === "last") moveTo(keys.length - 1, false);
  });

  const isActiveShown = active !== undefined && shown.includes(active);

  const toggle = (key: string): void => {
    const next = new Set(selection);
    if (!next.delete(key)) next.add(key);
    onSelect(next);
  };
  const selectTo = (key: string): void => {
    const from = active === undefined ? 0 : list.indexOf(active);
    const to = list.indexOf(key);
    onSelect(new Set([...selection, ...keys.slice(Math.min(from, to), Math.max(from, to) + 1)]));
  };
  const moveTo = (index: number, isExtending: boolean): void => {
    const bounded = Math.max(0, Math.min(keys.length - 1, index));
    const key = keys[bounded];
    if (key === undefined) return;
    if (isExtending) selectTo(key);
    setActive(key);
    virtual.scrollToIndex(bounded);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const index = active === undefined ? -1 : list.indexOf(active);
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 0) / ROW_PIXELS) - 1);
    const targets: Readonly<Record<string, number>> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      PageDown: index + page,
      PageUp: index - page,
      // Only keys that are loaded can be selected.
      ...(hasStart || event.shiftKey ? { Home: 0 } : {}),
      ...(hasEnd || event.shiftKey ? { End: keys.length - 1 } : {}),
    };
    const target = targets[event.key];
    if (target !== undefined) moveTo(target, event.shiftKey);
    else if (event.key === "Home") void list.jump("first");
    else if (event.key === "End") void list.jump("last");
    else if (event.key === "Enter" && active !== undefined) onOpen(active);
    else if (event.key === " " && active !== undefined) toggle(active);
    else if (event.key === "Escape") onSelect(new Set());
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) onSelect(new Set(keys));
    else return;
    event.preventDefault();
  };

  const onClick = (event: MouseEvent): void => {
    const { target } = event;
    if (!(target instanceof Element)) return;
    const row = target.closest("[role=option]");
    const key = row === null ? undefined : shown[[...(row.parentElement?.children ?? [])].indexOf(row)];
    if (key === undefined) return;
    const isCheck = target.closest(".row-check") !== null;
    if (event.shiftKey) selectTo(key);
    else if (isCheck || event.ctrlKey || event.metaKey) toggle(key);
    else onOpen(key);
    setActive(key);
  };

  return (
    <div ref={scroller} className="rows">
      <div
        className="rows-list"
        role="listbox"
        aria-label="Keys"
        aria-multiselectable="true"
        tabIndex={0}
        aria-activedescendant={isActiveShown ? optionId(active) : undefined}
        style={{ height: virtual.height }}
        onKeyDown={onKeyDown}
        onClick={onClick}
        onFocus={() => setActive((now) => now ?? keys[0])}
      >
        <div
          role="presentation"
          className="rows-window"
          style={{ transform: `translateY(${virtual.offset}px)` }}
        >
          {shown.map((key, at) => {
            const mark = marks.get(key);
            return (
              <KeyRow
                key={key}
                name={key}
                position={hasStart ? first + at + 1 : undefined}
                count={state.isComplete ? keys.length : -1}
                isOpen={key === openKey}
                isActive={key === active}
                isSelected={selection.has(key)}
                mark={mark === undefined ? "" : `row-${operationName(mark.operation)}`}
              />
            );
          })}
        </div>
      </div>
    </div>
  );
}

interface KeyRowProps {
  readonly name: string;
  /** Among all keys, from 1. Undefined: not known. */
  readonly position: number | undefined;
  /** Of all keys; -1: not known. */
  readonly count: number;
  readonly isOpen: boolean;
  readonly isActive: boolean;
  readonly isSelected: boolean;
  readonly mark: string;
}

/** Renders again only if something of it changes: a list of keys renders with each change of one of them. */
const KeyRow = memo(function KeyRow({
  name,
  position,
  count,
  isOpen,
  isActive,
  isSelected,
  mark,
}: KeyRowProps): JSX.Element {
  return (
    <div
      id={optionId(name)}
      role="option"
      aria-selected={isSelected}
      aria-posinset={position}
      aria-setsize={count}
      {...(isOpen ? { "aria-current": true } : {})}
      className={`row ${isOpen ? "is-open" : ""} ${isActive ? "is-active" : ""} ${mark}`}
    >
      <span className="row-check" aria-hidden="true">
        {CHECKBOX}
      </span>
      <KeyText value={name} />
    </div>
  );
});

function optionId(key: string): string {
  return elementId("key", key);
}
