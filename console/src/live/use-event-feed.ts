import { useEffect, useMemo, useSyncExternalStore } from "react";
import { EventFeed } from "./event-feed.js";

export function useEventFeed(bucket: string, filter: string): EventFeed {
  const feed = useMemo(() => new EventFeed(bucket, filter), [bucket, filter]);
  useEffect(() => {
    feed.start();
    return () => feed.close();
  }, [feed]);
  useSyncExternalStore(feed.subscribe, () => feed.state);
  return feed;
}
