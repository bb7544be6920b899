/**
 * What the page knows of one conversation: messages of all branches as a tree, and its runs.
 *
 * Only what was told is kept here. What follows from it (which branch is shown, what a tool call's
 * state is) is worked out in `view.ts`, so nothing here can disagree with itself.
 */
import type { AGUIEvent, Interrupt } from "@ag-ui/core";
import type { Run, StoredMessage, ToolStatus } from "../../api";

/** Tokens, by the names that the service uses: input_tokens, output_tokens, total_tokens. */
export type Usage = Readonly<Record<string, number>>;

interface Node {
  readonly id: string;
  readonly parentId: string | null;
  readonly runId: string | null;
  /** Told by history, and not yet by the replay that has begun to tell its run anew. */
  readonly isStale?: boolean;
}

export interface UserMessage extends Node {
  readonly role: "user";
  readonly content: string;
}

export interface Call {
  readonly id: string;
  readonly name: string;
  /** JSON as the model wrote it; a piece of it while it arrives. */
  readonly arguments: string;
  /** Whether more of the arguments may come. */
  readonly isOpen: boolean;
}

export interface AssistantMessage extends Node {
  readonly role: "assistant";
  readonly content: string;
  readonly calls: readonly Call[];
  readonly model: string | null;
  /** The tokens of its run, at the last message of that. */
  readonly usage: Usage | null;
  /** Cut off: the run was stopped, or ended, in the middle of it. */
  readonly isPartial: boolean;
}

export interface ToolMessage extends Node {
  readonly role: "tool";
  readonly content: string;
  readonly callId: string;
  readonly status: ToolStatus;
  /** Seconds. */
  readonly duration: number | null;
}

export type Message = UserMessage | AssistantMessage | ToolMessage;

/**
 * sending: the service has not answered yet. queued: it waits for the thread's run before it.
 * waiting: it ended in the question whether tools may run. interrupted: its server ended.
 */
export type RunPhase =
  | "sending"
  | "queued"
  | "running"
  | "success"
  | "cancelled"
  | "waiting"
  | "interrupted"
  | "timeout"
  | "error";

export interface RunState {
  readonly id: string;
  /** The number of the last event that was applied; 0: none. */
  readonly lastEvent: number;
  readonly phase: RunPhase;
  /** The message that its next one will hang under; undefined until that is known. */
  readonly tipId: string | null | undefined;
  readonly model: string | null;
  /** Whether the model is being built, which the first answer waits for. */
  readonly isLoadingModel: boolean;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly interrupts: readonly Interrupt[];
  readonly usage: Usage | null;
}

/** What was sent while a run was on: where it hangs is known when its turn has come. */
export interface QueuedMessage {
  readonly runId: string;
  readonly id: string;
  readonly content: string;
}

export interface ConversationState {
  /** In the order in which they came to be. */
  readonly messages: ReadonlyMap<string, Message>;
  readonly runs: ReadonlyMap<string, RunState>;
  readonly queue: readonly QueuedMessage[];
  /** Where the tree forks: the child that is shown, by its parent ("" at the root). Not there: the newest. */
  readonly selected: ReadonlyMap<string, string>;
  readonly title: string | null;
}

export interface NumberedEvent {
  readonly number: number;
  readonly event: AGUIEvent;
}

export type Action =
  /** What the service's tables say: all messages, and the newest runs, newest first. */
  | { readonly type: "history"; readonly messages: readonly StoredMessage[]; readonly runs: readonly Run[] }
  /** Events of a run, live or replayed, in their order; those seen before change nothing. */
  | { readonly type: "events"; readonly runId: string; readonly events: readonly NumberedEvent[] }
  /** A run was asked for. With a place its message is shown there, else in the queue. */
  | {
      readonly type: "sent";
      readonly runId: string;
      readonly message: { readonly id: string; readonly content: string } | null;
      readonly parentId: string | null | undefined;
      readonly model: string | null;
    }
  /** The service did not take the run: as if it had not been asked for. */
  | { readonly type: "refused"; readonly runId: string }
  | { readonly type: "select"; readonly parentId: string | null; readonly childId: string };

export const EMPTY: ConversationState = {
  messages: new Map(),
  runs: new Map(),
  queue: [],
  selected: new Map(),
  title: null,
};

export const isLive = (run: RunState): boolean =>
  run.phase === "sending" || run.phase === "queued" || run.phase === "running";

export const keyOf = (parentId: string | null): string => parentId ?? "";
