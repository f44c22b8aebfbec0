/** The virtual list of keys. What the user reads stays in place while keys come and go: rows above it change the scroll position. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { type JSX, type KeyboardEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { KeyList } from "../../live/key-list.js";
import { lowerBound } from "../../live/key-order.js";
import { Icon } from "../../ui/icons.js";
import { KeyText } from "../../ui/key-text.js";
import { operationName } from "../../ui/operation.js";

const ROW_PIXELS = 34;
/** The next page is loaded when fewer rows than this are left. */
const ROWS_LEFT_MIN = 300;

export interface KeyRowsProps {
  readonly list: KeyList;
  readonly openKey: string | undefined;
  readonly selection: ReadonlySet<string>;
  readonly onOpen: (key: string) => void;
  readonly onSelect: (selection: ReadonlySet<string>) => void;
}

export function KeyRows({ list, openKey, selection, onOpen, onSelect }: KeyRowsProps): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const { keys, marks, state } = list;
  const [active, setActive] = useState<string | undefined>(openKey);
  const rows = useVirtualizer({
    count: keys.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PIXELS,
    overscan: 12,
  });
  useAnchor(list, scroller.current);

  const items = rows.getVirtualItems();
  const isNearEnd = (items.at(-1)?.index ?? 0) + ROWS_LEFT_MIN > keys.length;
  useEffect(() => {
    if (isNearEnd && !state.isComplete && state.error === undefined && !state.isLoading) void list.loadMore();
  }, [list, isNearEnd, state.isComplete, state.error, state.isLoading]);

  const isActiveShown = active !== undefined && items.some(({ index }) => keys[index] === active);

  const toggle = (key: string): void => {
    const next = new Set(selection);
    if (!next.delete(key)) next.add(key);
    onSelect(next);
  };
  const selectTo = (key: string): void => {
    const from = active === undefined ? 0 : lowerBound(keys, active);
    const to = lowerBound(keys, key);
    onSelect(new Set([...selection, ...keys.slice(Math.min(from, to), Math.max(from, to) + 1)]));
  };
  const moveTo = (index: number, isExtending: boolean): void => {
    const bounded = Math.max(0, Math.min(keys.length - 1, index));
    const key = keys[bounded];
    if (key === undefined) return;
    if (isExtending) selectTo(key);
    setActive(key);
    rows.scrollToIndex(bounded);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const index = active === undefined ? -1 : lowerBound(keys, active);
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 0) / ROW_PIXELS) - 1);
    const targets: Readonly<Record<string, number>> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      PageDown: index + page,
      PageUp: index - page,
      Home: 0,
      End: keys.length - 1,
    };
    const target = targets[event.key];
    if (target !== undefined) moveTo(target, event.shiftKey);
    else if (event.key === "Enter" && active !== undefined) onOpen(active);
    else if (event.key === " " && active !== undefined) toggle(active);
    else if (event.key === "Escape") onSelect(new Set());
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) onSelect(new Set(keys));
    else return;
    event.preventDefault();
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
        style={{ height: rows.getTotalSize() }}
        onKeyDown={onKeyDown}
        onFocus={() => setActive((now) => now ?? keys[0])}
      >
        {items.map(({ index, start }) => {
          const key = keys[index];
          if (key === undefined) return null;
          const mark = marks.get(key);
          const classes = ["row", key === openKey ? "is-open" : "", key === active ? "is-active" : ""];
          if (mark !== undefined) classes.push(`row-${operationName(mark.operation)}`);
          return (
            <div
              key={key}
              id={optionId(key)}
              role="option"
              aria-selected={selection.has(key)}
              aria-posinset={index + 1}
              aria-setsize={state.isComplete ? keys.length : -1}
              {...(key === openKey ? { "aria-current": true } : {})}
              className={classes.join(" ")}
              style={{ transform: `translateY(${start}px)` }}
              onClick={(event) => {
                if (event.shiftKey) selectTo(key);
                else if (event.ctrlKey || event.metaKey) toggle(key);
                else onOpen(key);
                setActive(key);
              }}
            >
              <span
                className="row-check"
                aria-hidden="true"
                onClick={(event) => {
                  event.stopPropagation();
                  if (event.shiftKey) selectTo(key);
                  else toggle(key);
                  setActive(key);
                }}
              >
                <span className="checkbox-box">
                  <Icon name="check" />
                </span>
              </span>
              <KeyText value={key} />
            </div>
          );
        })}
      </div>
    </div>
  );
}

/** Keeps the first visible key where it is when keys above it are added or removed. */
function useAnchor(list: KeyList, scroller: HTMLElement | null): void {
  const anchor = useRef<{ key: string; index: number } | undefined>(undefined);
  const { version } = list.state;
  useLayoutEffect(() => {
    if (scroller === null) return;
    const { current } = anchor;
    if (current !== undefined) {
      const moved = lowerBound(list.keys, current.key) - current.index;
      if (moved !== 0) scroller.scrollTop += moved * ROW_PIXELS;
    }
    const remember = (): void => {
      const index = Math.floor(scroller.scrollTop / ROW_PIXELS);
      const key = list.keys[index];
      anchor.current = key === undefined ? undefined : { key, index };
    };
    remember();
    scroller.addEventListener("scroll", remember, { passive: true });
    return () => scroller.removeEventListener("scroll", remember);
  }, [list, version, scroller]);
}

function optionId(key: string): string {
  return `key-${encodeURIComponent(key).replaceAll("%", "_")}`;
}
