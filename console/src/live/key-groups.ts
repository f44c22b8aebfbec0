/** Groups of keys: prefixes that end in a dot. */

/** The node of the level below `prefix` that is, or contains, the key. */
export function childOf(prefix: string, key: string): string {
  const dot = key.indexOf(".", prefix.length);
  return dot === -1 ? key : key.slice(0, dot + 1);
}

/** The groups that contain the key or the group, from the first level. */
export function groupsAbove(path: string): string[] {
  const groups: string[] = [];
  for (let dot = path.indexOf("."); dot !== -1 && dot < path.length - 1; dot = path.indexOf(".", dot + 1))
    groups.push(path.slice(0, dot + 1));
  return groups;
}

/** The first text after all keys of a group: a slash follows the dot. */
export function afterGroup(group: string): string {
  return `${group.slice(0, -1)}/`;
}
