import { Link } from "@tanstack/react-router";
import type { JSX } from "react";
import { Empty } from "../ui/states.js";

export function NotFound(): JSX.Element {
  return (
    <Empty title="There is no such page">
      <p>
        The address is wrong, or the page has moved. <Link to="/buckets">Show the buckets</Link>
      </p>
    </Empty>
  );
}
