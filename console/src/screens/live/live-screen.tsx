/** The changes of a bucket as they happen. */
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type JSX, useEffect, useRef, useState } from "react";
import { useBuckets } from "../../api/bucket-queries.js";
import { sentenceOf } from "../../api/errors.js";
import { SelectField } from "../../ui/field.js";
import { SearchBox } from "../../ui/search-box.js";
import { useShortcuts } from "../../ui/shortcuts.js";
import { Empty, Loading, Notice } from "../../ui/states.js";
import { LiveFeed } from "./live-feed.js";

export function LiveScreen(): JSX.Element {
  const { bucket, filter = "" } = useSearch({ from: "/live" });
  const navigate = useNavigate();
  const { data, error, isPending } = useBuckets();
  const [typed, setTyped] = useState(filter);
  const sent = useRef(filter);
  const search = useRef<HTMLInputElement>(null);
  useShortcuts({ "/": () => search.current?.focus() });
  const first = data?.buckets[0]?.name;
  const watched = bucket ?? first;
  const go = (search: { bucket?: string; filter?: string }): void =>
    void navigate({ to: "/live", search, replace: true });
  useEffect(() => {
    // Another link changed the filter.
    if (filter !== sent.current) setTyped(filter);
    sent.current = filter;
  }, [filter]);
  // A watch for each letter would be wasteful: the feed follows when the user stops typing.
  useEffect(() => {
    if (typed === filter || watched === undefined) return;
    const timer = setTimeout(() => {
      sent.current = typed;
      void navigate({
        to: "/live",
        search: { bucket: watched, ...(typed === "" ? {} : { filter: typed }) },
        replace: true,
      });
    }, 400);
    return () => clearTimeout(timer);
  }, [typed, filter, watched, navigate]);
  return (
    <div className="page live-page">
      <header className="page-head">
        <h1>Live</h1>
        {data !== undefined && watched !== undefined && (
          <>
            <SelectField
              isCompact
              label="Bucket"
              value={watched}
              onChange={(next) => go({ bucket: next, ...(filter === "" ? {} : { filter }) })}
              options={(data.buckets.some(({ name }) => name === watched)
                ? data.buckets.map(({ name }) => name)
                : [watched, ...data.buckets.map(({ name }) => name)]
              ).map((name) => [name, name] as const)}
            />
            <SearchBox
              label="Filter"
              placeholder="Filter, such as user.> or user-*"
              value={typed}
              onChange={setTyped}
              inputRef={search}
            />
          </>
        )}
      </header>
      {isPending && <Loading what="the buckets" />}
      {error !== null && <Notice>{sentenceOf(error)}</Notice>}
      {data !== undefined && watched === undefined && (
        <Empty title="There is nothing to follow">
          <p className="soft">There is no bucket that this key may see. Create one first.</p>
        </Empty>
      )}
      {watched !== undefined && data !== undefined && (
        <LiveFeed key={`${watched} ${filter}`} bucket={watched} filter={filter} />
      )}
    </div>
  );
}
