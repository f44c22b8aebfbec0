/** Keeps the first visible row in the address, and scrolls to it when the address is opened. */
import { type RefObject, useEffect, useLayoutEffect, useRef } from "react";
import type { VirtualRows } from "../../ui/virtual-rows.js";

/** The address changes when the user has not scrolled for this long: browsers limit how often it may change. */
const SAVE_AFTER_MS = 200;
/** What a user does to scroll. */
const INPUTS = ["wheel", "pointerdown", "keydown", "touchstart"] as const;

export interface ScrollPlace {
  /** The key or group that the address names. Undefined: the top. */
  readonly at: string | undefined;
  readonly onAt: (at: string | undefined) => void;
}

export interface PlaceRows {
  readonly pathAt: (index: number) => string | undefined;
  readonly locate: (path: string) => number | "loading" | "gone";
}

export function useScrollPlace(
  scroller: RefObject<HTMLElement | null>,
  { visible, scrollToTop }: VirtualRows,
  { at, onAt }: ScrollPlace,
  { pathAt, locate }: PlaceRows,
): void {
  const wanted = useRef(at);
  const save = useRef((): void => undefined);
  useLayoutEffect(() => {
    save.current = () => {
      const [first] = visible();
      const path = first === 0 ? undefined : pathAt(first);
      if (path !== at) onAt(path);
    };
    // Nothing scrolls while the list is hidden: on a phone, behind an open key.
    if (wanted.current === undefined || !scroller.current?.clientHeight) return;
    const index = locate(wanted.current);
    if (index === "loading") return;
    wanted.current = undefined;
    if (index !== "gone") scrollToTop(index);
  });
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onScroll = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (wanted.current === undefined && element.clientHeight > 0) save.current();
      }, SAVE_AFTER_MS);
    };
    const onInput = (): void => {
      wanted.current = undefined;
    };
    element.addEventListener("scroll", onScroll, { passive: true });
    for (const input of INPUTS) element.addEventListener(input, onInput, { passive: true });
    return () => {
      clearTimeout(timer);
      element.removeEventListener("scroll", onScroll);
      for (const input of INPUTS) element.removeEventListener(input, onInput);
    };
  }, [scroller]);
}
