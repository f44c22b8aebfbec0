/** Checks the names of options: a misspelt one, or one of another method, must not be ignored. */

/** Every option of a type. The compiler refuses a table that lacks one. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: true };

/** Throws TypeError if there is an option with another name. `method`: for the sentence. */
export function checkOptions<Options extends object>(
  options: Options,
  names: OptionNames<Options>,
  method: string,
): void {
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(names, name)) continue;
    throw new TypeError(
      `${method} has no option ${JSON.stringify(name)}; its options are ${Object.keys(names).join(", ")}.`,
    );
  }
}
