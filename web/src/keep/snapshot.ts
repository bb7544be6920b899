/** What the server tells of its cache, about once a second. */

import type { CacheView } from "../api/types";

/** How often something was done and how long that took in all, since the server started. */
export interface Timing {
  readonly count: number;
  readonly seconds: number;
}

export const TIMED = ["build", "first_token", "run"] as const;

export type Timed = (typeof TIMED)[number];

export interface CacheSnapshot extends CacheView {
  /** Absent, or without some of them, where the server does not measure it. */
  readonly latency?: Partial<Record<Timed, Timing>>;
}
