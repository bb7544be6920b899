/**
 * What is shown of a conversation: the path through its tree, as turns.
 *
 * An assistant's turn is all that answers one message: its texts and its calls with their results,
 * over as many messages (and, where it waited for approval, runs) as that took. A turn that has not
 * changed is the same object as before, so nothing that shows it is drawn again.
 */
import type { Interrupt } from "@ag-ui/core";
import {
  type AssistantMessage,
  type Call,
  type ConversationState,
  isLive,
  keyOf,
  type Message,
  type QueuedMessage,
  type RunState,
  type ToolMessage,
  type Usage,
} from "./types";

export type CallStatus = "arguments" | "running" | "waiting" | "success" | "error" | "cancelled" | "declined";

export interface CallView {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
  readonly status: CallStatus;
  readonly result: string | null;
  /** Seconds. */
  readonly duration: number | null;
  /** What to answer, while it waits for approval. */
  readonly interrupt: Interrupt | null;
}

export type Part =
  | { readonly type: "text"; readonly id: string; readonly text: string }
  | { readonly type: "calls"; readonly id: string; readonly calls: readonly CallView[] };

/** The turns that could stand in a turn's place. */
export interface Branches {
  readonly parentId: string | null;
  readonly ids: readonly string[];
  readonly index: number;
}

interface BaseTurn {
  readonly id: string;
  readonly branches: Branches;
}

export interface UserTurn extends BaseTurn {
  readonly role: "user";
  readonly messageId: string;
  readonly parentId: string | null;
  readonly text: string;
}

export interface AssistantTurn extends BaseTurn {
  readonly role: "assistant";
  /** The message it answers: a new answer to that is a regeneration. */
  readonly answersId: string | null;
  readonly parts: readonly Part[];
  readonly text: string;
  readonly model: string | null;
  readonly usage: Usage | null;
  readonly isCut: boolean;
  /** The run that it ends in, as far as it is known. */
  readonly run: RunState | null;
}

export type Turn = UserTurn | AssistantTurn;

export interface View {
  readonly turns: readonly Turn[];
  readonly queue: readonly QueuedMessage[];
  /** The last message on the path: what is said next hangs under it. */
  readonly headId: string | null;
  /** The run that is on, the one that is shown before others. */
  readonly live: RunState | null;
  /** The run that ended in a question, if the path ends there. */
  readonly waiting: RunState | null;
}

const RUN = "run:";

/** Makes views, and remembers the last one's turns. */
export function viewer(): (state: ConversationState) => View {
  let last = new Map<string, { turn: Turn; made: readonly unknown[] }>();
  return (state) => {
    const children = childrenOf(state);
    const path = pathOf(state, children);
    const next = new Map<string, { turn: Turn; made: readonly unknown[] }>();
    const keep = (id: string, made: readonly unknown[], make: () => Turn): Turn => {
      const before = last.get(id);
      const entry = before && isSame(before.made, made) ? before : { turn: make(), made };
      next.set(id, entry);
      return entry.turn;
    };
    const tree = { children, results: resultsOf(state) };
    const turns = groupsOf(path, children).map((group) => turnOf(state, group, tree, keep));
    last = next;
    const headId = path.findLast((node) => node.message)?.id ?? null;
    return {
      turns,
      queue: state.queue,
      headId,
      live: liveRun(state),
      waiting: waitingRun(state, headId, tree.results),
    };
  };
}

function isSame(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((each, index) => each === other[index]);
}

function liveRun(state: ConversationState): RunState | null {
  const live = [...state.runs.values()].filter(isLive);
  return live.find((run) => run.phase === "running") ?? live[0] ?? null;
}

function waitingRun(
  state: ConversationState,
  headId: string | null,
  results: ReadonlyMap<string, ToolMessage>,
): RunState | null {
  const runId = headId === null ? null : state.messages.get(headId)?.runId;
  for (const run of state.runs.values()) {
    const isHere = run.tipId === headId || run.id === runId;
    if (isHere && run.phase === "waiting" && run.interrupts.some((each) => !results.has(each.toolCallId ?? "")))
      return run;
  }
  return null;
}

// --- the tree ---

/** A message, or a run that has said nothing (yet). */
interface Place {
  readonly id: string;
  readonly message: Message | null;
  readonly run: RunState | null;
}

type Children = ReadonlyMap<string, readonly Place[]>;

function childrenOf(state: ConversationState): Children {
  const children = new Map<string, Place[]>();
  const add = (parentId: string | null, place: Place) => {
    const key = keyOf(parentId);
    const siblings = children.get(key);
    if (siblings) siblings.push(place);
    else children.set(key, [place]);
  };
  const told = new Set<string | null>();
  for (const message of state.messages.values()) {
    if (message.isStale) continue;
    if (message.role !== "user") told.add(message.runId);
    const isOrphan = message.parentId !== null && !state.messages.has(message.parentId);
    add(isOrphan ? null : message.parentId, { id: message.id, message, run: null });
  }
  for (const [key, siblings] of children) children.set(key, withoutAnswers(siblings, children));
  const silent = new Map<string, RunState>();
  for (const run of state.runs.values()) {
    const tipId = silentTip(state, run, told);
    // One that has ended without a word is shown as long as nothing else stands there.
    if (tipId !== undefined && (isLive(run) || !children.has(tipId))) silent.set(tipId, run);
  }
  for (const [tipId, run] of silent) add(tipId, { id: RUN + run.id, message: null, run });
  return children;
}

/**
 * What there is to choose from: the answer to a call is none where the talk has gone on beside it, as
 * when a call that waits is declined by saying something else.
 */
function withoutAnswers(siblings: Place[], children: Children): Place[] {
  if (siblings.length < 2) return siblings;
  const others = siblings.filter(({ id, message }) => message?.role !== "tool" || children.has(id));
  return others.length > 0 ? others : siblings.slice(-1);
}

/** The user's message that a run without an answer hangs under; undefined where it shows in another way. */
function silentTip(state: ConversationState, run: RunState, told: ReadonlySet<string | null>): string | undefined {
  if (told.has(run.id) || run.phase === "success") return undefined;
  let tipId = run.tipId;
  if (tipId === undefined) {
    tipId = [...state.messages.values()].findLast((each) => each.role === "user" && each.runId === run.id)?.id;
  }
  return tipId && state.messages.get(tipId)?.role === "user" ? tipId : undefined;
}

function pathOf(state: ConversationState, children: Children): Place[] {
  const path: Place[] = [];
  const seen = new Set<string>();
  for (let parentId: string | null = null; ; ) {
    const siblings = children.get(keyOf(parentId));
    const chosen = state.selected.get(keyOf(parentId));
    const place = siblings?.find((each) => each.id === chosen) ?? siblings?.at(-1);
    if (!place || seen.has(place.id)) return path;
    seen.add(place.id);
    path.push(place);
    parentId = place.id;
  }
}

/** The path cut into turns: at each message of the user, and wherever there is something to choose. */
function groupsOf(path: readonly Place[], children: Children): Place[][] {
  const groups: Place[][] = [];
  let parentId: string | null = null;
  for (const place of path) {
    const isChoice = (children.get(keyOf(parentId))?.length ?? 0) > 1;
    const group = groups.at(-1);
    if (!group || place.message?.role === "user" || group[0]?.message?.role === "user" || isChoice)
      groups.push([place]);
    else group.push(place);
    parentId = place.id;
  }
  return groups;
}

// --- turns ---

interface Tree {
  readonly children: Children;
  readonly results: ReadonlyMap<string, ToolMessage>;
}

/** What tools answered, by the call. It may hang anywhere: a call that was declined by saying something else is answered there. */
function resultsOf(state: ConversationState): Map<string, ToolMessage> {
  const results = new Map<string, ToolMessage>();
  for (const each of state.messages.values()) if (each.role === "tool" && !each.isStale) results.set(each.callId, each);
  return results;
}

type Keep = (id: string, made: readonly unknown[], make: () => Turn) => Turn;

function turnOf(state: ConversationState, group: readonly Place[], { children, results }: Tree, keep: Keep): Turn {
  const first = group[0] as Place;
  const parentId = parentOf(state, first);
  const ids = (children.get(keyOf(parentId)) ?? []).map((place) => place.id);
  const branches: Branches = { parentId, ids, index: ids.indexOf(first.id) };
  const { message } = first;
  if (message?.role === "user") {
    return keep(message.id, [message, ids.join()], () => ({
      role: "user",
      id: message.id,
      messageId: message.id,
      parentId: message.parentId,
      text: message.content,
      branches,
    }));
  }
  const messages = group.flatMap((place) => place.message ?? []);
  const last = messages.at(-1);
  const run = first.run ?? runAt(state, last);
  // One id from the first sign of a run to its last word, so that what shows it stays.
  const id = idOf(first, state);
  const runs = [...new Set(messages.map((each) => each.runId))].map((each) =>
    each ? state.runs.get(each) : undefined,
  );
  const called = messages.flatMap((each) => (each.role === "assistant" ? each.calls : []));
  const answers = called.map((call) => results.get(call.id));
  return keep(id, [run, parentId, ids.join(), ...runs, ...messages, ...answers], () => {
    const parts = partsOf(messages, results, run, runs);
    const said = messages.filter((each) => each.role === "assistant");
    return {
      role: "assistant",
      id,
      branches,
      answersId: parentId,
      parts,
      text: said
        .map((each) => each.content)
        .filter(Boolean)
        .join("\n\n"),
      model: said.at(-1)?.model ?? run?.model ?? null,
      usage: sumOf(said),
      isCut: said.at(-1)?.isPartial ?? false,
      run,
    };
  });
}

/** The run's, where the turn begins with it; a choice in the middle of a run begins a turn of its own. */
function idOf(first: Place, state: ConversationState): string {
  const runId = first.message?.runId ?? null;
  if (runId === null) return first.id;
  const parentId = first.message?.parentId ?? null;
  const parent = parentId === null ? undefined : state.messages.get(parentId);
  return parent?.runId === runId && parent.role !== "user" ? first.id : RUN + runId;
}

function parentOf(state: ConversationState, place: Place): string | null {
  if (!place.message) return place.run?.tipId ?? silentTip(state, place.run as RunState, new Set()) ?? null;
  const { parentId } = place.message;
  return parentId !== null && state.messages.has(parentId) ? parentId : null;
}

/** The run that goes on from this message, or ended there. */
function runAt(state: ConversationState, message: Message | undefined): RunState | null {
  if (!message) return null;
  // One that was stopped before its first word is no part of what it would have followed.
  const next = [...state.runs.values()].findLast(
    (run) => run.tipId === message.id && (run.id === message.runId || isLive(run) || run.error !== null),
  );
  return next ?? (message.runId === null ? null : (state.runs.get(message.runId) ?? null));
}

function sumOf(answers: readonly AssistantMessage[]): Usage | null {
  const sum: Record<string, number> = {};
  for (const { usage } of answers) {
    for (const [name, count] of Object.entries(usage ?? {})) {
      if (typeof count === "number") sum[name] = (sum[name] ?? 0) + count;
    }
  }
  return Object.keys(sum).length ? sum : null;
}

function partsOf(
  messages: readonly Message[],
  results: ReadonlyMap<string, ToolMessage>,
  run: RunState | null,
  runs: readonly (RunState | undefined)[],
): Part[] {
  const interrupts = new Map<string, Interrupt>();
  for (const each of [...runs, run]) {
    if (each?.phase !== "waiting") continue;
    for (const interrupt of each.interrupts) if (interrupt.toolCallId) interrupts.set(interrupt.toolCallId, interrupt);
  }
  const isOn = run !== null && isLive(run);
  const parts: Part[] = [];
  for (const message of messages) {
    if (message.role !== "assistant") continue;
    if (message.content.trim()) parts.push({ type: "text", id: message.id, text: message.content });
    if (message.calls.length === 0) continue;
    const calls = message.calls.map((call) =>
      callView(call, results.get(call.id) ?? null, interrupts.get(call.id) ?? null, isOn),
    );
    parts.push({ type: "calls", id: `${message.id}/calls`, calls });
  }
  return parts;
}

function callView(call: Call, result: ToolMessage | null, interrupt: Interrupt | null, isOn: boolean): CallView {
  return {
    id: call.id,
    name: call.name,
    arguments: call.arguments,
    status: statusOf(call, result, interrupt, isOn),
    result: result?.content ?? null,
    duration: result?.duration ?? null,
    interrupt: result ? null : interrupt,
  };
}

/** A call that nobody answers any more, in a run that is over, counts as cancelled. */
function statusOf(call: Call, result: ToolMessage | null, interrupt: Interrupt | null, isOn: boolean): CallStatus {
  if (result) return result.status;
  if (interrupt) return "waiting";
  if (!isOn) return "cancelled";
  return call.isOpen ? "arguments" : "running";
}
