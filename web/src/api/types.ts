/** What the service's routes answer with, as its OpenAPI tells it. Times are ISO 8601 in UTC, durations seconds. */
import type { Interrupt } from "@ag-ui/core";

export type SignInMode = "none" | "token" | "jwt" | "proxy";

export interface Config {
  version: string;
  protocol: string;
  sign_in: SignInMode;
}

export interface Me {
  user: string;
  administrator: boolean;
  limits: {
    requests_per_minute: number | null;
    concurrent_runs: number | null;
    message_characters: number | null;
    tokens_per_day: number | null;
  };
  tokens_today: number;
}

export interface Model {
  id: string;
  provider: string;
  name: string;
  default: boolean;
  demonstration: boolean;
}

export interface Thread {
  thread_id: string;
  title: string | null;
  status: "idle" | "busy" | "interrupted" | "error";
  created_at: string;
  updated_at: string;
  metadata: Record<string, unknown>;
  last_run_id: string | null;
}

export interface ThreadWithRun extends Thread {
  active_run: Run | null;
}

export type RunStatus = "pending" | "running" | "success" | "error" | "timeout" | "interrupted" | "cancelled";

export interface Run {
  run_id: string;
  thread_id: string;
  status: RunStatus;
  code: string | null;
  error: string | null;
  model: string | null;
  usage: Record<string, number> | null;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  last_event_id: number;
  on_disconnect: "cancel" | "continue";
  multitask_strategy: "enqueue" | "reject" | "interrupt";
  interrupts: Interrupt[];
}

export interface StoredCall {
  id: string;
  name: string;
  arguments: string;
}

export type ToolStatus = "success" | "error" | "cancelled" | "declined";

export interface StoredMessage {
  id: string;
  parent_id: string | null;
  run_id: string | null;
  role: "user" | "assistant" | "tool";
  content: string;
  status: "complete" | "partial" | ToolStatus;
  tool_calls: StoredCall[];
  tool_call_id: string | null;
  duration: number | null;
  model: string | null;
  usage: Record<string, number> | null;
  created_at: string;
}

/** The cache's counters, as `llmkeep.stats()` names them. */
export interface CacheStats {
  acquired: number;
  hits: number;
  built: number;
  joined: number;
  builds: number;
  builds_ok: number;
  build_failures: number;
  builds_abandoned: number;
  building: number;
  live: number;
  leased: number;
  idle: number;
  retired: number;
  closed: number;
  close_failures: number;
  [counter: string]: number;
}

export interface CacheInstance {
  id: string;
  cache: string;
  label: string;
  scope: string;
  state: string;
  leases: number;
  age: number;
  idle: number;
  weight: number;
  builds: number;
}

export interface CacheView {
  stats: CacheStats;
  caches: { name: string; stats: CacheStats }[];
  instances: CacheInstance[];
}
