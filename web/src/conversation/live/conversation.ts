/**
 * One conversation of the page: its state, the runs it follows, and what a person can do in it.
 *
 * It lives apart from what shows it: another thread may be looked at while its runs go on.
 */
import type { Interrupt, ResumeEntry, RunAgentInput } from "@ag-ui/core";
import { createStore } from "zustand/vanilla";
import type { Run, StoredMessage, ThreadWithRun } from "../../api";
import { preferences } from "../../settings/preferences";
import { ApiProblem, explain, Offline, requestJson } from "../../signin";
import { threadStore } from "../../threads";
import { reduce } from "../state/reducer";
import { type Action, type ConversationState, EMPTY, type NumberedEvent, type RunPhase } from "../state/types";
import { type View, viewer } from "../state/view";
import { Batch } from "./batch";
import { followRun, isTerminal } from "./follow";
import { newId } from "./ids";
import { pause } from "./waiting";

/** What a person said of a call that waits for approval. */
export interface Decision {
  readonly isApproved: boolean;
  /** Other arguments to call the tool with. */
  readonly arguments?: Record<string, unknown>;
}

export interface Snapshot {
  readonly view: View;
  /** new: nothing has been sent yet. missing: there is no such conversation (any more). */
  readonly loading: "new" | "loading" | "ready" | "missing" | "failed";
  readonly loadError: unknown;
  /** Whether a run goes on that we have no connection to. */
  readonly isLost: boolean;
  /** The run that has been told to stop. */
  readonly stopping: string | null;
  /** Why the last message was not taken; it is back in the composer. */
  readonly refusal: string | null;
  /** Of the calls that wait, those that have been decided on. */
  readonly decisions: ReadonlyMap<string, Decision>;
}

export class Conversation {
  readonly store;
  /** Gets a message back that the service did not take. */
  onReturned: (text: string) => void = () => undefined;

  private state: ConversationState = EMPTY;
  private readonly view = viewer();
  private readonly batch = new Batch((runId, events) => this.apply({ type: "events", runId, events }));
  private readonly following = new Map<string, AbortController>();
  private readonly lost = new Set<string>();

  constructor(
    readonly threadId: string,
    isNew: boolean,
  ) {
    this.store = createStore<Snapshot>(() => ({
      view: this.view(EMPTY),
      loading: isNew ? "new" : "loading",
      loadError: null,
      isLost: false,
      stopping: null,
      refusal: null,
      decisions: new Map(),
    }));
  }

  get isBusy(): boolean {
    return this.following.size > 0;
  }

  // --- what is there ---

  /** Ask for everything there is, and follow what is running. Also to see what others have done meanwhile. */
  async load(): Promise<void> {
    if (this.store.getState().loading === "failed") this.change({ loading: "loading", loadError: null });
    const path = this.path();
    try {
      const [thread, { runs }] = await Promise.all([
        requestJson<ThreadWithRun>(path),
        requestJson<{ runs: Run[] }>(`${path}/runs?limit=50`),
      ]);
      // After the runs: what a run has said until then is in them, what it says later in its stream.
      const { messages } = await requestJson<{ messages: StoredMessage[] }>(`${path}/messages`);
      this.apply({ type: "history", messages, runs });
      this.change({ loading: "ready" });
      if (thread.title) threadStore.touch(this.threadId, { title: thread.title });
      for (const run of runs) if (run.status === "pending" || run.status === "running") this.resume(run);
    } catch (error) {
      this.loadFailed(error);
    }
  }

  /** Whether others have done something here meanwhile; asked lightly, now and then. */
  async look(): Promise<void> {
    if (this.store.getState().loading !== "ready" || this.isBusy) return;
    try {
      const { last_run_id, active_run } = await requestJson<ThreadWithRun>(this.path());
      if (active_run || (last_run_id && !this.state.runs.has(last_run_id))) await this.load();
    } catch {
      // The next look, or the next message, will tell.
    }
  }

  private loadFailed(error: unknown): void {
    const { loading } = this.store.getState();
    if (loading === "ready" || loading === "new") return; // what is shown stays; the next look tells
    const isMissing = error instanceof ApiProblem && error.status === 404;
    this.change({ loading: isMissing ? "missing" : "failed", loadError: error });
  }

  private resume(run: Run): void {
    if (this.following.has(run.run_id)) return;
    const after = this.state.runs.get(run.run_id)?.lastEvent ?? 0;
    void this.follow(run.run_id, null, after, run.last_event_id);
  }

  // --- what a person does ---

  /** Say something: under the message shown last, or, while a run is on, when its turn comes. */
  send(text: string): void {
    const { view, loading } = this.store.getState();
    const message = { id: newId(), content: text };
    if (view.live) this.ask({ message, parentId: undefined });
    else this.ask({ message, parentId: loading === "new" ? undefined : view.headId, isFirst: loading === "new" });
  }

  /** Say something else in the place of a message. */
  edit(parentId: string | null, text: string): void {
    this.ask({ message: { id: newId(), content: text }, parentId });
  }

  /** Have a message of the user answered anew. */
  regenerate(messageId: string): void {
    this.ask({ message: null, parentId: messageId });
  }

  /** Say yes or no to a call that waits. The run goes on when all that wait have been decided on. */
  decide(interrupt: Interrupt, decision: Decision): void {
    const decisions = new Map(this.store.getState().decisions).set(interrupt.id, decision);
    this.change({ decisions });
    const { waiting } = this.store.getState().view;
    if (!waiting?.interrupts.every((each) => decisions.has(each.id))) return;
    const resume = waiting.interrupts.map((each) => answerTo(each, decisions.get(each.id) as Decision));
    this.ask({ message: null, parentId: undefined, resume });
  }

  select(parentId: string | null, childId: string): void {
    this.apply({ type: "select", parentId, childId });
  }

  /** Stop the run that is on. What was said so far stays; what is queued goes on. */
  async stop(): Promise<void> {
    const run = this.store.getState().view.live;
    if (!run) return;
    this.change({ stopping: run.id });
    await this.cancel(run.id);
  }

  /** Cancel a run, also one whose turn has not come. Until the service has heard it, it is told again. */
  async cancel(runId: string): Promise<void> {
    const given = this.following.get(runId);
    if (!given) return;
    for (let failures = 0; !given.signal.aborted && this.following.has(runId); failures += 1) {
      try {
        await requestJson<Run>(`${this.path()}/runs/${encodeURIComponent(runId)}/cancel?wait=false`, {
          method: "POST",
        });
        return;
      } catch (error) {
        // The service may not know the run yet: its asking may still be on the way.
        const isEarly = error instanceof ApiProblem && error.status === 404 && failures < 3;
        if (!(error instanceof Offline) && !isEarly) {
          this.change({ stopping: null, refusal: explain(error) });
          return;
        }
      }
      await pause(500, given.signal).catch(() => undefined);
    }
  }

  dismissRefusal(): void {
    this.change({ refusal: null });
  }

  /** Let go of everything; the runs themselves go on. */
  close(): void {
    for (const controller of this.following.values()) controller.abort();
    this.following.clear();
    this.batch.drop();
  }

  // --- runs ---

  private ask(wish: Wish): void {
    const { message, parentId } = wish;
    const runId = newId();
    const { model } = preferences();
    const body = inputOf(this.threadId, runId, wish, model);
    // The first message of all has no parent, and says so to the page alone.
    const place = wish.isFirst ? null : parentId;
    if (!wish.resume) this.apply({ type: "sent", runId, message, parentId: place, model });
    this.change({ loading: "ready", refusal: null });
    threadStore.touch(this.threadId, { status: "busy" });
    void this.follow(runId, body, 0, 0).catch(() => undefined);
  }

  private async follow(runId: string, ask: RunAgentInput | null, after: number, until: number): Promise<void> {
    const controller = new AbortController();
    this.following.set(runId, controller);
    // What was there before is shown at once, not told again word by word.
    let held: NumberedEvent[] | null = after < until ? [] : null;
    try {
      await followRun({
        threadId: this.threadId,
        runId,
        ask,
        after,
        signal: controller.signal,
        onConnection: (isConnected) => this.connection(runId, isConnected),
        onEvents: (arrived) => {
          const events = held ? [...held, ...arrived] : arrived;
          const isBehind = held !== null && (events.at(-1)?.number ?? 0) < until && !events.some(isTerminal);
          held = isBehind ? events : null;
          if (!isBehind) this.batch.add(runId, events);
        },
      });
    } catch (error) {
      if (controller.signal.aborted) return;
      this.refused(runId, error);
    } finally {
      if (this.following.get(runId) === controller) this.following.delete(runId);
      this.ended(runId);
    }
  }

  private refused(runId: string, error: unknown): void {
    const isOurs = this.state.runs.get(runId)?.lastEvent === 0;
    const text = this.textOf(runId);
    if (isOurs) this.apply({ type: "refused", runId });
    this.change({ refusal: explain(error), decisions: new Map() });
    if (isOurs && text !== null) this.onReturned(text);
    // It may not go with what others have done here meanwhile.
    if (error instanceof ApiProblem && (error.status === 404 || error.status === 409)) void this.load();
  }

  private textOf(runId: string): string | null {
    const queued = this.state.queue.find((each) => each.runId === runId);
    if (queued) return queued.content;
    const sent = [...this.state.messages.values()].find((each) => each.role === "user" && each.runId === runId);
    return sent?.content ?? null;
  }

  private ended(runId: string): void {
    this.batch.flush();
    this.connection(runId, true);
    if (this.store.getState().stopping === runId) this.change({ stopping: null });
    const phase = this.state.runs.get(runId)?.phase;
    threadStore.touch(this.threadId, { status: this.isBusy ? "busy" : threadStatus(phase) });
  }

  private connection(runId: string, isConnected: boolean): void {
    if (isConnected) this.lost.delete(runId);
    else this.lost.add(runId);
    const isLost = this.lost.size > 0;
    if (isLost === this.store.getState().isLost) return;
    this.change({ isLost });
    // The list of threads could not be had either, meanwhile.
    if (!isLost) void threadStore.refresh();
  }

  // --- the state ---

  private apply(action: Action): void {
    const { title } = this.state;
    this.state = reduce(this.state, action);
    if (this.state.title !== null && this.state.title !== title) {
      threadStore.touch(this.threadId, { title: this.state.title });
    }
    const view = this.view(this.state);
    // Decisions are about what waits now.
    const decisions = view.waiting ? this.store.getState().decisions : NO_DECISIONS;
    this.change({ view, decisions });
  }

  private change(patch: Partial<Snapshot>): void {
    this.store.setState(patch);
  }

  private path(): string {
    return `/api/threads/${encodeURIComponent(this.threadId)}`;
  }
}

const NO_DECISIONS: ReadonlyMap<string, Decision> = new Map();

interface Wish {
  readonly message: { readonly id: string; readonly content: string } | null;
  /** Where it hangs; undefined: at the end of what is said by then. */
  readonly parentId: string | null | undefined;
  readonly isFirst?: boolean;
  readonly resume?: readonly ResumeEntry[];
}

function inputOf(threadId: string, runId: string, wish: Wish, model: string | null): RunAgentInput {
  const { message, parentId, resume } = wish;
  return {
    threadId,
    runId,
    protocolVersion: "1.0",
    messages: message ? [{ ...message, role: "user" }] : [],
    tools: [],
    context: [],
    forwardedProps: {
      on_disconnect: "continue",
      multitask_strategy: "enqueue",
      ...(parentId !== undefined && { parent_message_id: parentId }),
      ...(model !== null && { model }),
    },
    ...(resume && { resume: [...resume] }),
  };
}

function answerTo(interrupt: Interrupt, decision: Decision): ResumeEntry {
  const args = decision.arguments;
  return {
    interruptId: interrupt.id,
    status: "resolved",
    payload: { approved: decision.isApproved, ...(args && { args }) },
  };
}

function threadStatus(phase: RunPhase | undefined): "idle" | "interrupted" | "error" {
  if (phase === "waiting" || phase === "interrupted") return "interrupted";
  return phase === "error" || phase === "timeout" ? "error" : "idle";
}
