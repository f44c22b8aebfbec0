/** What the list says until its first keys are there: what it waits for, and for how long already. */
import { type JSX, useEffect, useState } from "react";
import { formatBytes, formatSeconds } from "../../ui/format.js";
import { Loading, Notice } from "../../ui/states.js";

const SECOND_MS = 1_000;

/** `bytes`: the size of the bucket. Undefined: not known yet. */
export function FirstPage({ bytes }: { readonly bytes: bigint | undefined }): JSX.Element {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSeconds((now) => now + 1), SECOND_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <>
      <Loading what="the keys" />
      {seconds > 0 && (
        <Notice kind="info">
          Before the service lists the keys of a bucket for the first time, it reads the bucket once.
          {bytes !== undefined && ` This one has ${formatBytes(bytes)}.`} The keys appear here as soon as it
          has: <span className="number">{formatSeconds(seconds)}</span> so far.
        </Notice>
      )}
    </>
  );
}
