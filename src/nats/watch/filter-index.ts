/**
 * Finds the subscribers whose filters match a key. The cost depends on the number of matches, not of subscribers.
 *
 * Filters without wildcards are in a map; the others are in a tree of tokens. If a filter has a glob within a token, the leaf evaluates
 * the filter itself.
 */
import type { Filter } from "../../kv/filter.js";

/** The subscribers with filters that end at one node, and these filters. */
type Leaf<Subscriber> = Map<Subscriber, readonly Filter[]>;

interface Node<Subscriber> {
  /** By stored token. `*` can't be a token of a stored key: it is always escaped. */
  children: Map<string, Node<Subscriber>> | undefined;
  /** Filters that end here. */
  here: Leaf<Subscriber> | undefined;
  /** Filters that end here in `>`: they match keys with more tokens. */
  below: Leaf<Subscriber> | undefined;
}

/** Subscribers by filter. A subscriber with overlapping filters may be visited more than once for a key. */
export class FilterIndex<Subscriber extends object> {
  private readonly exact = new Map<string, Set<Subscriber>>();
  private readonly root: Node<Subscriber> = newNode();

  add(filters: readonly Filter[], subscriber: Subscriber): void {
    for (const filter of filters) {
      if (filter.exactStoredKey !== undefined) {
        const subscribers = this.exact.get(filter.exactStoredKey);
        if (subscribers === undefined) this.exact.set(filter.exactStoredKey, new Set([subscriber]));
        else subscribers.add(subscriber);
      } else {
        this.addToTree(filter, subscriber);
      }
    }
  }

  remove(filters: readonly Filter[], subscriber: Subscriber): void {
    for (const filter of filters) {
      if (filter.exactStoredKey !== undefined) {
        const subscribers = this.exact.get(filter.exactStoredKey);
        subscribers?.delete(subscriber);
        if (subscribers?.size === 0) this.exact.delete(filter.exactStoredKey);
      } else {
        removeFrom(this.root, filter.subject.split("."), 0, subscriber);
      }
    }
  }

  /** Whether nothing is left in the index. */
  get isEmpty(): boolean {
    return this.exact.size === 0 && isBare(this.root);
  }

  /** Calls `visit` for each subscriber that has a matching filter. `visit` may remove subscribers. */
  visit(storedKey: string, visit: (subscriber: Subscriber) => void): void {
    this.exact.get(storedKey)?.forEach(visit);
    if (!isBare(this.root)) visitTree(this.root, storedKey.split("."), 0, storedKey, visit);
  }

  private addToTree(filter: Filter, subscriber: Subscriber): void {
    const tokens = filter.subject.split(".");
    const hasTail = tokens.at(-1) === ">";
    if (hasTail) tokens.pop();
    let node = this.root;
    for (const token of tokens) {
      node.children ??= new Map();
      let child = node.children.get(token);
      if (child === undefined) {
        child = newNode();
        node.children.set(token, child);
      }
      node = child;
    }
    const leaf: Leaf<Subscriber> =
      (hasTail ? node.below : node.here) ?? new Map<Subscriber, readonly Filter[]>();
    if (hasTail) node.below = leaf;
    else node.here = leaf;
    const filters = leaf.get(subscriber);
    leaf.set(subscriber, filters === undefined ? [filter] : [...filters, filter]);
  }
}

function newNode<Subscriber>(): Node<Subscriber> {
  return { children: undefined, here: undefined, below: undefined };
}

function isBare<Subscriber>(node: Node<Subscriber>): boolean {
  return node.children === undefined && node.here === undefined && node.below === undefined;
}

function visitTree<Subscriber>(
  node: Node<Subscriber>,
  tokens: readonly string[],
  depth: number,
  storedKey: string,
  visit: (subscriber: Subscriber) => void,
): void {
  const token = tokens[depth];
  if (token === undefined) {
    visitLeaf(node.here, storedKey, visit);
    return;
  }
  visitLeaf(node.below, storedKey, visit);
  const next = node.children?.get(token);
  if (next !== undefined) visitTree(next, tokens, depth + 1, storedKey, visit);
  const any = node.children?.get("*");
  if (any !== undefined) visitTree(any, tokens, depth + 1, storedKey, visit);
}

function visitLeaf<Subscriber>(
  leaf: Leaf<Subscriber> | undefined,
  storedKey: string,
  visit: (subscriber: Subscriber) => void,
): void {
  leaf?.forEach((filters, subscriber) => {
    for (const filter of filters) {
      if (filter.subjectDecides || filter.matches(storedKey)) {
        visit(subscriber);
        return;
      }
    }
  });
}

/** Removes the subscriber from the filter's leaf, and then empty nodes. */
function removeFrom<Subscriber>(
  node: Node<Subscriber>,
  tokens: readonly string[],
  depth: number,
  subscriber: Subscriber,
): void {
  const token = tokens[depth];
  if (token === undefined) {
    node.here?.delete(subscriber);
    if (node.here?.size === 0) node.here = undefined;
  } else if (token === ">") {
    node.below?.delete(subscriber);
    if (node.below?.size === 0) node.below = undefined;
  } else {
    const child = node.children?.get(token);
    if (child === undefined) return;
    removeFrom(child, tokens, depth + 1, subscriber);
    if (isBare(child)) node.children?.delete(token);
    if (node.children?.size === 0) node.children = undefined;
  }
}
