import type { WatchResponse_Change } from "@ironflow-kv/client/gen";
import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { useKeyValue } from "../api/clients.js";
import { keyFilterOf } from "./key-filter.js";
import { KeyList } from "./key-list.js";
import { KeyTree } from "./key-tree.js";
import type { LiveKeys, LiveKeysState } from "./live-keys.js";
import type { KeyOrder } from "./sorted-keys.js";

/**
 * The keys of a bucket that match what the user typed, as a list in an order, or as a tree. `from`: the key or group to begin with; later values are
 * ignored. `onChanges` receives every change of the bucket, `onGap` is called when some were missed. Does not render again when keys change: see `useLiveKeysState`.
 */
export function useLiveKeys(
  bucket: string,
  typed: string,
  shape: KeyOrder | "tree",
  from: string | undefined,
  onChanges: (changes: readonly WatchResponse_Change[]) => void,
  onGap: () => void,
): KeyList | KeyTree {
  const keyValue = useKeyValue();
  const handlers = useRef({ onChanges, onGap });
  useEffect(() => {
    handlers.current = { onChanges, onGap };
  });
  const keys = useMemo(() => {
    const options = {
      keyValue,
      bucket,
      filter: keyFilterOf(typed),
      onChanges: (changes: readonly WatchResponse_Change[]) => handlers.current.onChanges(changes),
      onGap: () => handlers.current.onGap(),
    };
    if (shape === "tree") return new KeyTree(options, from);
    return new KeyList(options, shape, from === undefined ? "first" : { key: from });
    // Without `from`: it changes as the user scrolls.
  }, [keyValue, bucket, typed, shape]);
  useEffect(() => {
    keys.start();
    return () => keys.close();
  }, [keys]);
  return keys;
}

/** The state of the keys. What uses it renders again with each change of a key. */
export function useLiveKeysState(keys: LiveKeys): LiveKeysState {
  return useSyncExternalStore(keys.subscribe, () => keys.state);
}
