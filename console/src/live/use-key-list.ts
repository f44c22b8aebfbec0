import type { WatchResponse_Change } from "@ironflow-kv/client/gen";
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { keyFilterOf } from "./key-filter.js";
import { KeyList } from "./key-list.js";

/** The keys of a bucket that match what the user typed. `onChanges` receives every change of the bucket. */
export function useKeyList(
  bucket: string,
  typed: string,
  onChanges: (changes: readonly WatchResponse_Change[]) => void,
): KeyList {
  const handler = useRef(onChanges);
  useEffect(() => {
    handler.current = onChanges;
  });
  const list = useMemo(
    () => new KeyList(bucket, keyFilterOf(typed), (changes) => handler.current(changes)),
    [bucket, typed],
  );
  useEffect(() => {
    list.start();
    return () => list.close();
  }, [list]);
  useSyncExternalStore(list.subscribe, () => list.state);
  return list;
}
