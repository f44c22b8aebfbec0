/** Keys as text that can't mislead: their direction is isolated, and characters that can't be seen have visible marks. */
import { memo } from "react";

/** Characters that look like nothing or reorder what follows: each is shown as a mark. A space in the middle of a key stays a space. */
const INVISIBLE = /(?! )[\p{Cc}\p{Cf}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u;
/** Most keys: nothing in them needs a mark. */
const PLAIN = /^[!-~]*$/;
const MARKS: Readonly<Record<string, string>> = { " ": "space" };

/** The pieces of a key, in order; `isMark` for those that stand for an invisible character. */
export function piecesOf(key: string): { readonly text: string; readonly isMark: boolean }[] {
  if (PLAIN.test(key)) return key === "" ? [] : [{ text: key, isMark: false }];
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

/** Renders again only for another key: lists of keys render with each change of one of them. */
export const KeyText = memo(function KeyText({ value }: { readonly value: string }) {
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
});
