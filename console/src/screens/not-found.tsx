import { Link } from "@tanstack/react-router";
import type { JSX } from "react";

export function NotFound(): JSX.Element {
  return (
    <div className="page">
      <h1>There is no such page</h1>
      <p>
        The address is wrong, or the page has moved. <Link to="/buckets">Show the buckets</Link>
      </p>
    </div>
  );
}
