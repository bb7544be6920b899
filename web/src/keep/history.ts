/**
 * The last ten minutes of the cache, and the curves drawn from them. Counters become rates, timings
 * become means; where nothing is known, for want of a connection, the curve has a gap.
 */

import type { CacheStats } from "../api/types";
import type { CacheSnapshot, Timed } from "./snapshot";

/** Seconds. */
export const SPAN = 600;

/** Samples further apart than this many seconds have a gap between them. */
const LONGEST_STEP = 5;

export interface Sample {
  /** Seconds since the epoch, by this machine's clock. */
  readonly at: number;
  readonly snapshot: CacheSnapshot;
}

/** Of equal length: a value, or null for a gap, at each time. */
export interface Curves {
  readonly times: readonly number[];
  readonly values: readonly (readonly (number | null)[])[];
}

/** With `sample`, without what is too old. */
export function withSample(history: readonly Sample[], sample: Sample): readonly Sample[] {
  const last = history.at(-1);
  // Counters never go backwards: this is another server, or the same one started anew.
  if (last && sample.snapshot.stats.acquired < last.snapshot.stats.acquired) return [sample];
  // A clock that was set back would draw over what is there.
  if (last && sample.at <= last.at) return history;
  return [...history.filter((each) => each.at > sample.at - SPAN), sample];
}

export type Counter = keyof CacheStats & string;

/** Gauges as they were. */
export function levels(history: readonly Sample[], names: readonly Counter[]): Curves {
  return between(history, names, ({ snapshot }, _before, name) => snapshot.stats[name] ?? null);
}

/** How much counters grew, per second. */
export function rates(history: readonly Sample[], names: readonly Counter[]): Curves {
  return between(history, names, (sample, before, name) => {
    const [now, then] = [sample.snapshot.stats[name], before.snapshot.stats[name]];
    return now === undefined || then === undefined ? null : (now - then) / (sample.at - before.at);
  });
}

/** How long it took, on the mean of what ended since the sample before; null where nothing did. */
export function means(history: readonly Sample[], names: readonly Timed[]): Curves {
  return between(history, names, (sample, before, name) => {
    const [now, then] = [sample.snapshot.latency?.[name], before.snapshot.latency?.[name]];
    if (!now || !then || now.count <= then.count) return null;
    return (now.seconds - then.seconds) / (now.count - then.count);
  });
}

/** A point for each sample that follows close on another, a gap where it does not. */
function between<Name extends string>(
  history: readonly Sample[],
  names: readonly Name[],
  valueAt: (sample: Sample, before: Sample, name: Name) => number | null,
): Curves {
  const times: number[] = [];
  const values: (number | null)[][] = names.map(() => []);
  history.forEach((sample, at) => {
    const before = history[at - 1];
    if (!before) return;
    const isGap = sample.at - before.at > LONGEST_STEP;
    times.push(sample.at);
    names.forEach((name, of) => {
      values[of]?.push(isGap ? null : valueAt(sample, before, name));
    });
  });
  return { times, values };
}

export interface Row {
  /** When the minute began. */
  readonly at: number;
  readonly values: readonly (number | null)[];
}

/** The same as figures: the mean of each minute, the latest first. */
export function byMinute({ times, values }: Curves): Row[] {
  const minutes = new Map<number, number[]>();
  times.forEach((time, at) => {
    const minute = Math.floor(time / 60) * 60;
    minutes.set(minute, [...(minutes.get(minute) ?? []), at]);
  });
  return [...minutes]
    .map(([at, points]) => ({ at, values: values.map((curve) => meanOf(points.map((point) => curve[point]))) }))
    .reverse();
}

function meanOf(points: readonly (number | null | undefined)[]): number | null {
  const known = points.filter((each) => typeof each === "number");
  return known.length === 0 ? null : known.reduce((sum, each) => sum + each, 0) / known.length;
}

/** The latest value that is known. */
export function latest(curve: readonly (number | null)[] | undefined): number | null {
  return curve?.findLast((each) => each !== null) ?? null;
}
