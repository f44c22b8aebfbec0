import type { JSX, Ref } from "react";
import { Input, SearchField } from "react-aria-components";
import { Button } from "./button.js";
import { Icon } from "./icons.js";

export interface SearchBoxProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly placeholder: string;
  readonly inputRef?: Ref<HTMLInputElement>;
}

export function SearchBox({ label, value, onChange, placeholder, inputRef }: SearchBoxProps): JSX.Element {
  return (
    <SearchField aria-label={label} className="search" value={value} onChange={onChange}>
      <Icon name="search" />
      <Input
        className="input"
        placeholder={placeholder}
        spellCheck="false"
        {...(inputRef === undefined ? {} : { ref: inputRef })}
      />
      {value !== "" && (
        <Button variant="quiet" icon="close" label="Clear the search" className="search-clear" />
      )}
    </SearchField>
  );
}
