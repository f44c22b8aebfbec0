/**
 * Rows of one height, of which only the visible ones exist.
 *
 * A browser limits the height of an element: to about 33 million pixels in Chromium, 18 in Firefox. A list that would be higher gets that height, and
 * its scroll positions are scaled, so that the last of many rows can be reached.
 */
import { type RefObject, useLayoutEffect, useState } from "react";
import { flushSync } from "react-dom";

export const ROW_PIXELS = 34;

export interface VirtualRows {
  /** The rows that exist: from the first, up to but without the end. */
  readonly first: number;
  readonly end: number;
  /** Where the first of them is, in pixels, for `transform` of the element that contains them. The rows themselves say nothing of their place: one that
   * is added above them changes no other. */
  readonly offset: number;
  /** Of the element that scrolls. */
  readonly height: number;
  /** Scrolls only if the row is not completely visible. */
  readonly scrollToIndex: (index: number) => void;
  readonly scrollByRows: (rows: number) => void;
  /** Makes the row the first visible one, as far as the rows after it allow. */
  readonly scrollToTop: (index: number) => void;
  /** The indexes of the first visible row, and of the one after the last. */
  readonly visible: () => readonly [first: number, end: number];
}

/** `overscan`: how many rows beyond the visible ones exist at each end. */
export function useVirtualRows(
  scroller: RefObject<HTMLElement | null>,
  count: number,
  overscan: number,
): VirtualRows {
  const [view, setView] = useState({ scrollTop: 0, height: 0 });
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const update = (): void => {
      const { scrollTop, clientHeight } = element;
      setView({ scrollTop, height: clientHeight });
    };
    // Renders before the browser paints the new position.
    const onScroll = (): void => flushSync(update);
    update();
    const resizes = new ResizeObserver(update);
    resizes.observe(element);
    element.addEventListener("scroll", onScroll, { passive: true });
    return () => {
      resizes.disconnect();
      element.removeEventListener("scroll", onScroll);
    };
  }, [scroller]);

  const total = count * ROW_PIXELS;
  const height = Math.min(total, elementPixelsMax());
  /** Pixels of the rows for each pixel that is scrolled. */
  const scaleAt = (viewHeight: number): number =>
    height === total ? 1 : (total - viewHeight) / (height - viewHeight);
  /** The part of the rows that the element shows now. */
  const shown = () => {
    const { scrollTop = 0, clientHeight = 0 } = scroller.current ?? {};
    const scale = scaleAt(clientHeight);
    return { top: scrollTop * scale, size: clientHeight, scale };
  };
  const scrollTo = (top: number): void => {
    if (scroller.current !== null) scroller.current.scrollTop = top / shown().scale;
  };

  const top = view.scrollTop * scaleAt(view.height);
  const first = Math.max(0, Math.min(count, Math.floor(top / ROW_PIXELS)) - overscan);
  const end = Math.min(count, Math.ceil((top + view.height) / ROW_PIXELS) + overscan);
  return {
    first,
    end,
    offset: first * ROW_PIXELS - top + view.scrollTop,
    height,
    scrollToIndex: (index) => {
      const { top: from, size } = shown();
      const rowTop = index * ROW_PIXELS;
      if (rowTop < from) scrollTo(rowTop);
      else if (rowTop + ROW_PIXELS > from + size) scrollTo(rowTop + ROW_PIXELS - size);
    },
    scrollByRows: (rows) => scrollTo(shown().top + rows * ROW_PIXELS),
    scrollToTop: (index) => scrollTo(index * ROW_PIXELS),
    visible: () => {
      const { top: from, size } = shown();
      return [Math.floor(from / ROW_PIXELS), Math.min(count, Math.ceil((from + size) / ROW_PIXELS))];
    },
  };
}

let measuredMax: number | undefined;

/** The height that this browser allows for an element. */
function elementPixelsMax(): number {
  if (measuredMax !== undefined) return measuredMax;
  const probe = document.createElement("div");
  probe.style.cssText = "position: absolute; visibility: hidden; height: 1000000000px";
  document.body.append(probe);
  // A little less, because browsers round at their limit.
  measuredMax = Math.floor(probe.getBoundingClientRect().height * 0.99);
  probe.remove();
  return measuredMax;
}
