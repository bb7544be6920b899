/** What each event of a run means for the conversation's state. Events that say nothing to the page are counted only. */
import {
  type AGUIEvent,
  type CustomEvent,
  EventType,
  type MessagesSnapshotEvent,
  type RunErrorEvent,
  type RunFinishedEvent,
  type TokenUsage,
  type ToolCallResultEvent,
  type ToolCallStartEvent,
} from "@ag-ui/core";
import type { ToolStatus } from "../../api";
import type { Draft } from "./reducer";
import type { AssistantMessage, Call, Message, RunPhase, ToolMessage, Usage } from "./types";

export function applyEvent(draft: Draft, runId: string, number: number, event: AGUIEvent): void {
  if (number <= draft.run(runId).lastEvent) return;
  draft.changeRun(runId, { lastEvent: number });
  switch (event.type) {
    case EventType.RUN_STARTED:
      started(draft, runId);
      break;
    case EventType.CUSTOM:
      custom(draft, runId, event);
      break;
    case EventType.TEXT_MESSAGE_START:
      if (event.role === undefined || event.role === "assistant") openAnswer(draft, runId, event.messageId);
      break;
    case EventType.TEXT_MESSAGE_CONTENT: {
      const answer = openAnswer(draft, runId, event.messageId);
      draft.put({ ...answer, content: answer.content + event.delta });
      break;
    }
    case EventType.TEXT_MESSAGE_END:
      if (event.metadata?.status === "partial")
        draft.put({ ...openAnswer(draft, runId, event.messageId), isPartial: true });
      break;
    case EventType.TOOL_CALL_START:
      callStarted(draft, runId, event);
      break;
    case EventType.TOOL_CALL_ARGS:
      changeCall(draft, event.toolCallId, (call) => ({
        ...call,
        arguments: call.arguments + event.delta,
      }));
      break;
    case EventType.TOOL_CALL_END:
      changeCall(draft, event.toolCallId, (call) => ({ ...call, isOpen: false }));
      break;
    case EventType.TOOL_CALL_RESULT:
      callAnswered(draft, runId, event);
      break;
    case EventType.MESSAGES_SNAPSHOT:
      snapshot(draft, runId, event);
      break;
    case EventType.RUN_FINISHED:
      finished(draft, runId, event);
      break;
    case EventType.RUN_ERROR:
      failed(draft, runId, event);
      break;
  }
}

// --- the run ---

/** A run tells itself from its beginning: what history said of it waits to be told again. */
function started(draft: Draft, runId: string): void {
  for (const message of draft.state.messages.values()) {
    if (message.runId === runId && message.role !== "user") draft.put({ ...message, isStale: true });
  }
  draft.changeRun(runId, { phase: "running", interrupts: [], error: null });
}

function custom(draft: Draft, runId: string, event: CustomEvent): void {
  if (event.name === "run_input") runInput(draft, runId, event.value as RunInput);
  else if (event.name === "model_loading") draft.changeRun(runId, { isLoadingModel: true });
  else if (event.name === "thread_title") draft.set({ title: String(event.value?.title ?? "") || null });
}

interface RunInput {
  parent_id: string | null;
  messages: { id: string; content: string }[];
  model: string | null;
  resume: boolean;
}

/** Where the run hangs, and what it answers: what was shown before the service said so gives way. */
function runInput(draft: Draft, runId: string, input: RunInput): void {
  let tipId = input.parent_id ?? null;
  for (const { id, content } of input.messages ?? []) {
    draft.put({ role: "user", id, parentId: tipId, runId, content });
    tipId = id;
  }
  draft.set({ queue: draft.state.queue.filter((queued) => queued.runId !== runId) });
  draft.changeRun(runId, { tipId, model: input.model ?? null });
  if (input.resume) answered(draft, runId);
  draft.show(tipId);
}

/** What waited for an answer has got one. */
function answered(draft: Draft, runId: string): void {
  for (const run of draft.state.runs.values()) {
    if (run.phase === "waiting" && run.id !== runId) draft.changeRun(run.id, { phase: "success", interrupts: [] });
  }
}

function finished(draft: Draft, runId: string, event: RunFinishedEvent): void {
  const outcome = event.outcome;
  const phases = { success: "success", cancelled: "cancelled", interrupt: "waiting" } as const;
  const interrupts = outcome?.type === "interrupt" ? outcome.interrupts : [];
  ended(draft, runId, outcome ? phases[outcome.type] : "success", event.usage, { interrupts });
}

function failed(draft: Draft, runId: string, event: RunErrorEvent): void {
  const code = event.code ?? "";
  const phase =
    code === "timeout" ? "timeout" : code === "interrupted" || code === "shutdown" ? "interrupted" : "error";
  ended(draft, runId, phase, event.usage, { error: { code, message: event.message } });
}

function ended(
  draft: Draft,
  runId: string,
  phase: RunPhase,
  usage: TokenUsage[] | undefined,
  rest: { interrupts?: RunFinishedOutcomeInterrupts; error?: { code: string; message: string } },
): void {
  const total = totalOf(usage);
  let last: AssistantMessage | null = null;
  for (const message of draft.state.messages.values()) {
    if (message.runId !== runId) continue;
    if (message.isStale) draft.drop(message.id);
    else if (message.role === "assistant") last = message;
  }
  if (last && total) draft.put({ ...last, usage: total });
  draft.changeRun(runId, { phase, usage: total, isLoadingModel: false, ...rest });
}

type RunFinishedOutcomeInterrupts = Extract<RunFinishedEvent["outcome"], { type: "interrupt" }>["interrupts"];

function totalOf(usage: TokenUsage[] | undefined): Usage | null {
  if (!usage?.length) return null;
  const sum = (count: (each: TokenUsage) => number | undefined) =>
    usage.reduce((all, each) => all + (count(each) ?? 0), 0);
  const input = sum((each) => each.inputTokens);
  const output = sum((each) => each.outputTokens);
  return {
    input_tokens: input,
    output_tokens: output,
    total_tokens: sum((each) => each.totalTokens) || input + output,
  };
}

// --- messages and calls ---

/** Hang a message under the run's last one, and the run's next one under it. */
function append(draft: Draft, runId: string, message: Message): void {
  draft.put(message);
  draft.changeRun(runId, { tipId: message.id, isLoadingModel: false });
}

function openAnswer(draft: Draft, runId: string, id: string): AssistantMessage {
  const known = draft.state.messages.get(id);
  if (known?.role === "assistant" && !known.isStale) return known;
  const { tipId, model } = draft.run(runId);
  const answer: AssistantMessage = {
    role: "assistant",
    id,
    parentId: tipId ?? null,
    runId,
    content: "",
    calls: [],
    model,
    usage: null,
    isPartial: false,
  };
  append(draft, runId, answer);
  return answer;
}

function callStarted(draft: Draft, runId: string, event: ToolCallStartEvent): void {
  const { toolCallId, toolCallName, parentMessageId } = event;
  const answer = openAnswer(draft, runId, parentMessageId ?? toolCallId);
  if (answer.calls.some((call) => call.id === toolCallId)) return;
  const call: Call = { id: toolCallId, name: toolCallName, arguments: "", isOpen: true };
  draft.put({ ...answer, calls: [...answer.calls, call] });
}

function changeCall(draft: Draft, callId: string, change: (call: Call) => Call): void {
  const owner = ownerOf(draft, callId);
  if (owner) draft.put({ ...owner, calls: owner.calls.map((call) => (call.id === callId ? change(call) : call)) });
}

/** The message with this call: searched from the end, it is never far. */
function ownerOf(draft: Draft, callId: string): AssistantMessage | null {
  const messages = [...draft.state.messages.values()];
  const isOwner = (each: Message): each is AssistantMessage =>
    each.role === "assistant" && !each.isStale && each.calls.some((call) => call.id === callId);
  return messages.findLast(isOwner) ?? null;
}

const STATUSES: readonly ToolStatus[] = ["success", "error", "cancelled", "declined"];

function callAnswered(draft: Draft, runId: string, event: ToolCallResultEvent): void {
  const known = draft.state.messages.get(event.messageId);
  if (known && !known.isStale) return;
  changeCall(draft, event.toolCallId, (call) => ({ ...call, isOpen: false }));
  const status = STATUSES.find((each) => each === event.metadata?.status) ?? "success";
  const duration: unknown = event.metadata?.duration;
  const answer: ToolMessage = {
    role: "tool",
    id: event.messageId,
    parentId: draft.run(runId).tipId ?? null,
    runId,
    content: textOf(event.content),
    callId: event.toolCallId,
    status,
    duration: typeof duration === "number" ? duration : null,
  };
  const beside = besideOf(draft, runId, event.toolCallId);
  if (beside === null) append(draft, runId, answer);
  else draft.put({ ...answer, parentId: beside });
}

/**
 * Where the answer to an earlier call hangs, of which the run does not go on: one that waited when
 * something else was said. Null: it is the run's own next message.
 */
function besideOf(draft: Draft, runId: string, callId: string): string | null {
  const owner = ownerOf(draft, callId);
  let tip = draft.state.messages.get(draft.run(runId).tipId ?? "");
  while (tip?.role === "tool") tip = draft.state.messages.get(tip.parentId ?? "");
  return owner === null || tip === undefined || tip.id === owner.id ? null : owner.id;
}

function textOf(content: ToolCallResultEvent["content"]): string {
  if (typeof content === "string") return content;
  return content.map((part) => (part.type === "text" ? part.text : `[${part.type}]`)).join("\n");
}

/** The path to the end of a run whose events are no longer kept. What is known stays where it is. */
function snapshot(draft: Draft, runId: string, event: MessagesSnapshotEvent): void {
  let parentId: string | null = null;
  for (const told of event.messages) {
    const known = draft.state.messages.get(told.id);
    const place = { id: told.id, parentId: known?.parentId ?? parentId, runId: known?.runId ?? runId };
    if (known?.isStale) {
      const { isStale: _, ...rest } = known;
      draft.put(rest);
    }
    if (!known && told.role === "user") draft.put({ ...place, role: "user", content: textOf(told.content) });
    else if (!known && told.role === "assistant") {
      const calls = (told.toolCalls ?? []).map(({ id, function: { name, arguments: text } }) => ({
        id,
        name,
        arguments: text,
        isOpen: false,
      }));
      draft.put({
        ...place,
        role: "assistant",
        content: told.content ?? "",
        calls,
        model: null,
        usage: null,
        isPartial: false,
      });
    } else if (!known && told.role === "tool") {
      const status = STATUSES.find((each) => each === told.metadata?.status) ?? (told.error ? "error" : "success");
      const duration: unknown = told.metadata?.duration;
      draft.put({
        ...place,
        role: "tool",
        content: textOf(told.content),
        callId: told.toolCallId,
        status,
        duration: typeof duration === "number" ? duration : null,
      });
    }
    if (draft.state.messages.has(told.id)) parentId = told.id;
  }
  draft.changeRun(runId, { tipId: parentId });
}
