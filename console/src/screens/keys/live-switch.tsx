/** Shows whether changes appear as they happen; pauses and resumes them. */
import type { JSX } from "react";
import type { KeyList } from "../../live/key-list.js";
import { Button } from "../../ui/button.js";
import { formatCount } from "../../ui/format.js";

const NAMES = {
  connecting: "Connecting",
  live: "Live",
  hidden: "Paused while hidden",
  away: "Reconnecting",
} as const;

export function LiveSwitch({ list }: { readonly list: KeyList }): JSX.Element {
  const { watch, isPaused, waiting } = list.state;
  if (watch.kind === "refused") return <span className="live live-refused">Not live: {watch.sentence}</span>;
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
        onPress={() => list.setPaused(!isPaused)}
      />
    </>
  );
}
