/** Keeps what the user reads where it is while rows above it come and go. */
import { type RefObject, useLayoutEffect, useRef } from "react";
import type { KeyList } from "../../live/key-list.js";
import type { VirtualRows } from "../../ui/virtual-rows.js";

export function useAnchor(
  list: KeyList,
  scroller: RefObject<HTMLElement | null>,
  { visible, scrollByRows }: VirtualRows,
): void {
  const anchors = useRef<readonly (readonly [key: string, index: number])[]>([]);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    // In the order of changes, a key that has just changed moved away on its own.
    const anchor = anchors.current.find(([key]) => list.order !== "changed" || !list.marks.has(key));
    const moved = anchor === undefined ? 0 : list.indexOf(anchor[0]) - anchor[1];
    // At the top of the newest changes, the user follows them.
    const isFollowing = list.order === "changed" && element.scrollTop === 0;
    if (moved !== 0 && !isFollowing) scrollByRows(moved);
    const remember = (): void => {
      const [first, end] = visible();
      anchors.current = list.keys.slice(first, end).map((key, at) => [key, first + at]);
    };
    remember();
    element.addEventListener("scroll", remember, { passive: true });
    return () => element.removeEventListener("scroll", remember);
  });
}
