/** The keys as a tree. Only the visible rows exist. */
import { type JSX, type KeyboardEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import { isNode, type KeyTree, type TreeRow } from "../../live/key-tree.js";
import { elementId } from "../../ui/element-id.js";
import { Icon } from "../../ui/icons.js";
import { KeyText } from "../../ui/key-text.js";
import { operationName } from "../../ui/operation.js";
import { useVirtualRows } from "../../ui/virtual-rows.js";
import { useAnchor } from "./use-anchor.js";
import { groupsOfText, groupsToText } from "./open-groups.js";
import { type ScrollPlace, useScrollPlace } from "./use-scroll-place.js";

const OVERSCAN_ROWS = 12;
const INDENT_PIXELS = 18;
const PAGE_ROWS = 10;

export interface TreeRowsProps {
  readonly tree: KeyTree;
  /** The open groups that the address names. */
  readonly groups: string;
  readonly onGroups: (groups: string) => void;
  readonly place: ScrollPlace;
  readonly openKey: string | undefined;
  readonly onOpen: (key: string) => void;
}

export function TreeRows({ tree, groups, onGroups, place, openKey, onOpen }: TreeRowsProps): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const all = tree.rows();
  const [active, setActive] = useState<string>();
  const virtual = useVirtualRows(scroller, all.length, OVERSCAN_ROWS);
  useLayoutEffect(() => {
    for (const group of groupsOfText(groups)) if (!tree.isOpen(group)) tree.open(group);
  }, [tree, groups]);
  const pathAt = (index: number): string | undefined => {
    const row = all[index];
    return row !== undefined && isNode(row) ? row.path : undefined;
  };
  useAnchor(scroller, virtual, {
    // Nodes that are loaded come after a row `before`: what follows it stays in place.
    pathAt: (index) =>
      all.slice(index, virtual.visible()[1]).some(({ kind }) => kind === "before")
        ? undefined
        : pathAt(index),
    indexOf: (path) => {
      const index = all.findIndex((row) => isNode(row) && row.path === path);
      return index === -1 ? undefined : index;
    },
    isFollowedAtTop: false,
  });
  useScrollPlace(scroller, virtual, place, { pathAt, locate: (path) => tree.locate(path) });
  const shown = all.slice(virtual.first, virtual.end);
  useEffect(() => {
    const { isLoading, error } = tree.state;
    if (isLoading || error !== undefined) return;
    // Not `shown`: what was rendered may have moved since.
    const [from, to] = virtual.visible();
    const near = all.slice(Math.max(0, from - OVERSCAN_ROWS), to + OVERSCAN_ROWS);
    const more = near.findLast(({ kind }) => kind === "after") ?? near.find(({ kind }) => kind === "before");
    if (more?.kind === "after" || more?.kind === "before") void tree.loadMore(more.path, more.kind);
  });

  const isActiveShown = shown.some((row) => idOf(row) === active);
  const activate = (row: TreeRow): void => {
    setActive(idOf(row));
    if (row.kind === "key") onOpen(row.path);
    else if (row.kind === "group") {
      if (row.isOpen) tree.closeGroup(row.path);
      else tree.open(row.path);
      onGroups(groupsToText(tree.openGroups()));
    }
  };
  const moveTo = (index: number): void => {
    const row = all[Math.max(0, Math.min(all.length - 1, index))];
    if (row === undefined) return;
    setActive(idOf(row));
    virtual.scrollToIndex(all.indexOf(row));
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const index = all.findIndex((row) => idOf(row) === active);
    const row = all[index];
    const moves: Readonly<Record<string, number>> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      PageDown: index + PAGE_ROWS,
      PageUp: index - PAGE_ROWS,
      Home: 0,
      End: all.length - 1,
    };
    const target = moves[event.key];
    if (target !== undefined) moveTo(target);
    else if (row === undefined) return;
    else if (event.key === "Enter" || event.key === " ") activate(row);
    else if (event.key === "ArrowRight" && row.kind === "group") {
      if (row.isOpen) moveTo(index + 1);
      else activate(row);
    } else if (event.key === "ArrowLeft") {
      if (row.isOpen) activate(row);
      else moveTo(all.findLastIndex(({ depth }, at) => at < index && depth < row.depth));
    } else return;
    event.preventDefault();
  };

  return (
    <div ref={scroller} className="rows">
      <div
        className="rows-list"
        role="tree"
        aria-label="Keys"
        tabIndex={0}
        aria-activedescendant={isActiveShown ? active : undefined}
        style={{ height: virtual.height }}
        onKeyDown={onKeyDown}
        onFocus={() => setActive((now) => now ?? (all[0] === undefined ? undefined : idOf(all[0])))}
      >
        <div
          role="presentation"
          className="rows-window"
          style={{ transform: `translateY(${virtual.offset}px)` }}
        >
          {shown.map((row) => {
            const { path, kind, depth, isOpen } = row;
            const mark = kind === "key" ? tree.marks.get(path) : undefined;
            const classes = [
              "row tree-row",
              path === openKey ? "is-open" : "",
              idOf(row) === active ? "is-active" : "",
            ];
            if (mark !== undefined) classes.push(`row-${operationName(mark.operation)}`);
            return (
              <div
                key={idOf(row)}
                id={idOf(row)}
                role="treeitem"
                aria-level={depth}
                {...(kind === "group" ? { "aria-expanded": isOpen } : {})}
                {...(path === openKey ? { "aria-current": true } : {})}
                className={classes.join(" ")}
                style={{ paddingLeft: 8 + (depth - 1) * INDENT_PIXELS }}
                onClick={() => activate(row)}
              >
                {!isNode(row) ? (
                  <span className="soft">Loading more</span>
                ) : (
                  <>
                    <span className={`tree-arrow ${isOpen ? "is-expanded" : ""}`}>
                      {kind === "group" && <Icon name="expand" />}
                    </span>
                    <KeyText value={lastPart(path)} />
                  </>
                )}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

/** The part of the path that its level adds. */
function lastPart(path: string): string {
  return path.slice(path.lastIndexOf(".", path.length - 2) + 1);
}

function idOf({ path, kind }: TreeRow): string {
  return elementId(`tree-${kind}`, path);
}
