/** What the service's tables say of a conversation, taken into its state. A run that is being followed knows better. */
import type { Run, StoredMessage } from "../../api";
import { type Draft, newRun } from "./reducer";
import type { Message, RunPhase, RunState } from "./types";

export function applyHistory(draft: Draft, stored: readonly StoredMessage[], runs: readonly Run[]): void {
  const before = draft.state;
  const isFollowed = (runId: string | null) => runId !== null && (before.runs.get(runId)?.lastEvent ?? 0) > 0;
  let news: string | null = null;
  for (const each of stored) {
    const known = before.messages.get(each.id);
    if (!known) news = each.id;
    if (known && isFollowed(each.run_id)) continue;
    const message = fromStored(each);
    if (!known || !isEqual(known, message)) draft.put(message);
  }
  for (const run of [...runs].reverse()) takeRun(draft, run, before.runs.get(run.run_id));
  // What is new is shown; who reads another branch of what was there keeps it.
  if (news !== null) draft.show(news);
}

function isEqual(one: Message, other: Message): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function fromStored(stored: StoredMessage): Message {
  const node = { id: stored.id, parentId: stored.parent_id, runId: stored.run_id };
  if (stored.role === "user") return { role: "user", ...node, content: stored.content };
  if (stored.role === "assistant") {
    return {
      role: "assistant",
      ...node,
      content: stored.content,
      calls: stored.tool_calls.map((call) => ({ ...call, isOpen: false })),
      model: stored.model,
      usage: stored.usage,
      isPartial: stored.status === "partial",
    };
  }
  return {
    role: "tool",
    ...node,
    content: stored.content,
    callId: stored.tool_call_id ?? "",
    status: stored.status === "complete" || stored.status === "partial" ? "success" : stored.status,
    duration: stored.duration,
  };
}

function takeRun(draft: Draft, run: Run, known: RunState | undefined): void {
  const phase = phaseOf(run);
  if (known && known.lastEvent > 0) {
    // Its own events say it better; but that its question was answered, others may know first.
    if (known.phase === "waiting" && phase !== "waiting") draft.changeRun(known.id, { phase, interrupts: [] });
    return;
  }
  const next: RunState = {
    ...newRun(run.run_id),
    tipId: known?.tipId,
    phase,
    model: run.model,
    error: run.error === null ? null : { code: run.code ?? "", message: run.error },
    interrupts: phase === "waiting" ? run.interrupts : [],
    usage: run.usage,
  };
  if (!known || JSON.stringify(known) !== JSON.stringify(next)) draft.putRun(next);
}

function phaseOf(run: Run): RunPhase {
  if (run.status === "pending") return "queued";
  if (run.status === "interrupted") return run.code === "approval" ? "waiting" : "interrupted";
  return run.status;
}
