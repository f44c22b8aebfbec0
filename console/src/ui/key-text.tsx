/** Keys as text that can't mislead: their direction is isolated, and characters that can't be seen have visible marks. */
import type { JSX } from "react";

/** Characters that look like nothing or reorder what follows: each is shown as a mark. A space in the middle of a key stays a space. */
const INVISIBLE = /[\p{Cf}\p{Zl}\p{Zp}\u00a0\u2000-\u200a\u202f\u205f\u3000\u115f\u1160\u3164\uffa0]/u;
const MARKS: Readonly<Record<string, string>> = { " ": "space" };

/** The pieces of a key, in order; `isMark` for those that stand for an invisible character. */
export function piecesOf(key: string): { readonly text: string; readonly isMark: boolean }[] {
  const pieces: { text: string; isMark: boolean }[] = [];
  const end = key.trimEnd().length;
  const start = key.length - key.trimStart().length;
  let offset = 0;
  for (const character of key) {
    const isOuterSpace = character === " " && (offset < start || offset >= end);
    const isMark = isOuterSpace || INVISIBLE.test(character);
    const last = pieces.at(-1);
    if (last !== undefined && !isMark && !last.isMark) last.text += character;
    else pieces.push({ text: isMark ? markOf(character) : character, isMark });
    offset += character.length;
  }
  return pieces;
}

function markOf(character: string): string {
  return (
    MARKS[character] ?? `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`
  );
}

export function KeyText({ value }: { readonly value: string }): JSX.Element {
  return (
    <bdi className="key-text" dir="ltr">
      {piecesOf(value).map(({ text, isMark }, index) =>
        isMark ? (
          <span key={index} className="key-mark">
            {text}
          </span>
        ) : (
          text
        ),
      )}
    </bdi>
  );
}
