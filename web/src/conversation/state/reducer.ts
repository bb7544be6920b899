/**
 * The one function from what is told about a conversation to what the page knows of it.
 *
 * Live streams, replays and history go through here alike. Pure: no clock, no network, the old state
 * is never changed. An event is counted by its number in its run, so one that comes twice does nothing.
 */
import { applyEvent } from "./events";
import { applyHistory } from "./history";
import { type Action, type ConversationState, keyOf, type RunState, type UserMessage } from "./types";

export function reduce(state: ConversationState, action: Action): ConversationState {
  const draft = new Draft(state);
  switch (action.type) {
    case "history":
      applyHistory(draft, action.messages, action.runs);
      break;
    case "events":
      for (const { number, event } of action.events) applyEvent(draft, action.runId, number, event);
      break;
    case "sent":
      applySent(draft, action);
      break;
    case "refused":
      applyRefusal(draft, action.runId);
      break;
    case "select":
      draft.select(action.parentId, action.childId);
      break;
  }
  return draft.done();
}

/** A state in the making: copies a table when it is first changed, and only then. */
export class Draft {
  private readonly old: ConversationState;
  private new: ConversationState;

  constructor(state: ConversationState) {
    this.old = state;
    this.new = state;
  }

  get state(): ConversationState {
    return this.new;
  }

  done(): ConversationState {
    return this.new;
  }

  private own<Table extends "messages" | "runs" | "selected">(table: Table) {
    if (this.new[table] === this.old[table])
      this.new = { ...this.new, [table]: new Map(this.new[table] as Map<string, never>) };
    return this.new[table] as unknown as Map<
      string,
      ConversationState[Table] extends ReadonlyMap<string, infer Value> ? Value : never
    >;
  }

  put(message: ConversationState["messages"] extends ReadonlyMap<string, infer M> ? M : never): void {
    this.own("messages").set(message.id, message);
  }

  drop(messageId: string): void {
    if (this.new.messages.has(messageId)) this.own("messages").delete(messageId);
  }

  run(runId: string): RunState {
    return this.new.runs.get(runId) ?? newRun(runId);
  }

  putRun(run: RunState): void {
    this.own("runs").set(run.id, run);
  }

  changeRun(runId: string, change: Partial<RunState>): void {
    this.putRun({ ...this.run(runId), ...change });
  }

  dropRun(runId: string): void {
    if (this.new.runs.has(runId)) this.own("runs").delete(runId);
  }

  set(change: Partial<Pick<ConversationState, "queue" | "title">>): void {
    this.new = { ...this.new, ...change };
  }

  /** Show this child where the tree forks under `parentId`; null: the newest. */
  select(parentId: string | null, childId: string | null): void {
    const key = keyOf(parentId);
    if ((this.new.selected.get(key) ?? null) === childId) return;
    if (childId === null) this.own("selected").delete(key);
    else this.own("selected").set(key, childId);
  }

  /** Show the path to this message, and under it the newest. */
  show(messageId: string | null): void {
    this.select(messageId, null);
    const seen = new Set<string>();
    for (let id = messageId; id !== null && !seen.has(id); ) {
      seen.add(id);
      const parentId: string | null = this.new.messages.get(id)?.parentId ?? null;
      this.select(parentId, id);
      id = parentId;
    }
  }
}

export function newRun(id: string): RunState {
  return {
    id,
    lastEvent: 0,
    phase: "running",
    tipId: undefined,
    model: null,
    isLoadingModel: false,
    error: null,
    interrupts: [],
    usage: null,
  };
}

function applySent(draft: Draft, action: Extract<Action, { type: "sent" }>): void {
  const { runId, message, parentId, model } = action;
  if (draft.state.runs.has(runId)) return;
  const run: RunState = { ...newRun(runId), phase: "sending", model };
  if (parentId === undefined) {
    draft.putRun(run);
    if (message) draft.set({ queue: [...draft.state.queue, { runId, ...message }] });
    return;
  }
  if (message) draft.put({ ...message, role: "user", parentId, runId } satisfies UserMessage);
  draft.putRun({ ...run, tipId: message?.id ?? parentId });
  draft.show(message?.id ?? parentId);
}

function applyRefusal(draft: Draft, runId: string): void {
  for (const message of draft.state.messages.values()) {
    if (message.runId !== runId) continue;
    draft.drop(message.id);
    draft.select(message.parentId, null);
  }
  draft.set({ queue: draft.state.queue.filter((queued) => queued.runId !== runId) });
  draft.dropRun(runId);
}
