/** Keeps what the user reads where it is while rows above it come and go. */
import { type RefObject, useLayoutEffect, useRef } from "react";
import type { VirtualRows } from "../../ui/virtual-rows.js";

export interface AnchorRows {
  /** The key or group of the row. Undefined: it has none. */
  readonly pathAt: (index: number) => string | undefined;
  /** Where the row of this path is now, or would be. Undefined: it says nothing about the others. */
  readonly indexOf: (path: string) => number | undefined;
  /** Whether the user, at the top, follows what is added there. */
  readonly isFollowedAtTop: boolean;
  /** Another object: the rows were replaced by those of another place. */
  readonly origin?: object;
}

export function useAnchor(
  scroller: RefObject<HTMLElement | null>,
  { visible, scrollByRows }: VirtualRows,
  { pathAt, indexOf, isFollowedAtTop, origin }: AnchorRows,
): void {
  const anchors = useRef<readonly (readonly [path: string, index: number])[]>([]);
  const shownOrigin = useRef(origin);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const moved = shownOrigin.current === origin ? movedRows(anchors.current, indexOf) : 0;
    shownOrigin.current = origin;
    if (moved !== 0 && !(isFollowedAtTop && element.scrollTop === 0)) scrollByRows(moved);
    const remember = (): void => {
      const [first, end] = visible();
      const shown: [string, number][] = [];
      for (let index = first; index < end; index++) {
        const path = pathAt(index);
        if (path !== undefined) shown.push([path, index]);
      }
      anchors.current = shown;
    };
    remember();
    element.addEventListener("scroll", remember, { passive: true });
    return () => element.removeEventListener("scroll", remember);
  });
}

/** By how many rows the first anchor that is still there has moved. */
function movedRows(
  anchors: readonly (readonly [path: string, index: number])[],
  indexOf: AnchorRows["indexOf"],
): number {
  for (const [path, before] of anchors) {
    const now = indexOf(path);
    if (now !== undefined) return now - before;
  }
  return 0;
}
