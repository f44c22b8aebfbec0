/** Shows whether changes appear as they happen; pauses and resumes them. */
import type { JSX } from "react";
import type { LiveKeys } from "../../live/live-keys.js";
import { Button } from "../../ui/button.js";
import { formatCount } from "../../ui/format.js";

const NAMES = {
  connecting: "Connecting",
  live: "Live",
  hidden: "Paused while hidden",
  away: "Reconnecting",
} as const;

export function LiveSwitch({ keys }: { readonly keys: LiveKeys }): JSX.Element {
  const { watch, isPaused, waiting } = keys.state;
  if (watch.kind === "refused")
    return (
      <>
        <span className="live live-refused" role="status">
          Not live: {watch.sentence}
        </span>
        <Button variant="quiet" onPress={() => keys.retryWatch()}>
          Try again
        </Button>
      </>
    );
  const name = isPaused ? `Paused, ${formatCount(waiting)} waiting` : NAMES[watch.kind];
  return (
    <>
      <span className={`live live-${isPaused ? "paused" : watch.kind}`} role="status">
        {name}
      </span>
      <Button
        variant="quiet"
        icon={isPaused ? "play" : "pause"}
        label={isPaused ? "Resume live changes" : "Pause live changes"}
        onPress={() => keys.setPaused(!isPaused)}
      />
    </>
  );
}
