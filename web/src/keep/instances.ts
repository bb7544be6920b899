/** The instances as a person reads them: columns, their order, the state in one word. */

import type { CacheInstance } from "../api/types";

const COLUMNS = ["label", "cache", "scope", "state", "leases", "age", "idle", "builds", "weight"] as const;

export type Column = (typeof COLUMNS)[number];

export interface Order {
  readonly column: Column;
  readonly isDescending: boolean;
}

/** Those that are models: the rest is what the server keeps to work with them. */
export function modelsAmong(instances: readonly CacheInstance[]): CacheInstance[] {
  return instances.filter((each) => /^models\b/.test(each.cache));
}

/** Which cache it is in is worth a column where there are several. */
export function columnsFor(instances: readonly CacheInstance[]): Column[] {
  const isOne = instances.every((each) => each.cache === instances[0]?.cache);
  return COLUMNS.filter((column) => column !== "cache" || !isOne);
}

/** Text from A, figures from the greatest: what one looks for first. */
const isText = (column: Column): boolean => ["label", "cache", "scope", "state"].includes(column);

export function isNumber(column: Column): boolean {
  return !isText(column);
}

/** The order after a click on `column`: the same column is turned round. */
export function reordered(order: Order, column: Column): Order {
  if (order.column === column) return { column, isDescending: !order.isDescending };
  return { column, isDescending: isNumber(column) };
}

export function sorted(instances: readonly CacheInstance[], { column, isDescending }: Order): CacheInstance[] {
  const sign = isDescending ? -1 : 1;
  // The id settles ties, so that rows do not jump about from second to second.
  return instances.toSorted((one, other) => sign * compare(one[column], other[column]) || compare(one.id, other.id));
}

function compare(one: string | number, other: string | number): number {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other));
}

/** Leased is not a state of an instance, but it is what one wants to know. */
export function stateOf(instance: CacheInstance): string {
  return instance.state === "ready" && instance.leases > 0 ? "inUse" : instance.state;
}
