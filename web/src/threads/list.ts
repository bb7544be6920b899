/** The list of conversations as plain data: how answers of the server and changes of ours go into it. */

import type { Thread } from "../api/types";

/** Newest activity first, as the server sorts; ids settle ties. */
export function byActivity(one: Thread, other: Thread): number {
  if (one.updated_at !== other.updated_at) return one.updated_at < other.updated_at ? 1 : -1;
  return one.thread_id < other.thread_id ? 1 : -1;
}

/** With `thread` in its place, whether or not it was there. */
export function withThread(threads: readonly Thread[], thread: Thread): Thread[] {
  return [...withoutThread(threads, thread.thread_id), thread].sort(byActivity);
}

export function withoutThread(threads: readonly Thread[], threadId: string): Thread[] {
  return threads.filter((each) => each.thread_id !== threadId);
}

export interface Page {
  readonly threads: readonly Thread[];
  readonly next_cursor: string | null;
}

/** The next page behind what is there. A thread that has moved in between stands where it is now. */
export function append(threads: readonly Thread[], page: Page): Thread[] {
  const known = new Set(page.threads.map((each) => each.thread_id));
  return [...threads.filter((each) => !known.has(each.thread_id)), ...page.threads];
}

/**
 * The first page anew, in front of older pages that were loaded before. What should stand within the
 * first page and does not is gone: deleted in another tab.
 */
export function renew(threads: readonly Thread[], page: Page): Thread[] {
  const last = page.threads.at(-1);
  if (!last || page.next_cursor === null) return [...page.threads];
  const fresh = new Set(page.threads.map((each) => each.thread_id));
  const older = threads.filter((each) => !fresh.has(each.thread_id) && byActivity(each, last) > 0);
  return [...page.threads, ...older];
}

export type Period = "today" | "yesterday" | "week" | "earlier";

export interface Group {
  readonly period: Period;
  readonly threads: readonly Thread[];
}

/** By the day of the last activity, on the calendar of whoever looks. */
export function groupByPeriod(threads: readonly Thread[], now: Date): Group[] {
  const groups = new Map<Period, Thread[]>();
  for (const thread of threads) {
    const period = periodOf(new Date(thread.updated_at), now);
    groups.set(period, [...(groups.get(period) ?? []), thread]);
  }
  return [...groups].map(([period, members]) => ({ period, threads: members }));
}

export function periodOf(date: Date, now: Date): Period {
  // By the calendar and not by 24 hours: the days that the clocks are changed have 23 or 25.
  const midnight = (daysAgo: number) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - daysAgo);
  if (date >= midnight(0)) return "today";
  if (date >= midnight(1)) return "yesterday";
  return date >= midnight(7) ? "week" : "earlier";
}
