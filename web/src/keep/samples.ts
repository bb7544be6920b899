/** For tests: what a server could tell of its cache. */

import type { CacheInstance, CacheStats } from "../api/types";
import type { CacheSnapshot } from "./snapshot";

const ZERO: CacheStats = {
  acquired: 0,
  hits: 0,
  built: 0,
  joined: 0,
  builds: 0,
  builds_ok: 0,
  build_failures: 0,
  builds_abandoned: 0,
  building: 0,
  live: 0,
  leased: 0,
  idle: 0,
  retired: 0,
  closed: 0,
  close_failures: 0,
};

export function snapshot(stats: Partial<CacheStats> = {}, more: Partial<CacheSnapshot> = {}): CacheSnapshot {
  return { stats: { ...ZERO, ...stats } as CacheStats, caches: [], instances: [], ...more };
}

export function instance(change: Partial<CacheInstance> = {}): CacheInstance {
  const plain = { id: "k1", cache: "models (process)", label: "openai:gpt-5-mini", scope: "process", state: "ready" };
  return { ...plain, leases: 0, age: 12, idle: 3, weight: 1, builds: 1, ...change };
}
