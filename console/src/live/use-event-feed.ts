import { useEffect, useMemo, useSyncExternalStore } from "react";
import { useKeyValue } from "../api/clients.js";
import { EventFeed } from "./event-feed.js";

export function useEventFeed(bucket: string, filter: string): EventFeed {
  const keyValue = useKeyValue();
  const feed = useMemo(() => new EventFeed(keyValue, bucket, filter), [keyValue, bucket, filter]);
  useEffect(() => {
    feed.start();
    return () => feed.close();
  }, [feed]);
  useSyncExternalStore(feed.subscribe, () => feed.state);
  return feed;
}
