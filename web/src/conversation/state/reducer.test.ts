/** The reducer: whatever way a conversation is told, the page knows the same of it. */
import { describe, expect, it } from "vitest";
import { reduce } from "./reducer";
import * as t from "./testing";
import { type ConversationState, EMPTY } from "./types";
import { type AssistantTurn, type CallView, type View, viewer } from "./view";

const see = (state: ConversationState): View => viewer()(state);
const answerIn = (state: ConversationState): AssistantTurn =>
  see(state).turns.findLast((turn) => turn.role === "assistant") as AssistantTurn;
const callsIn = (state: ConversationState): CallView[] =>
  answerIn(state).parts.flatMap((part) => (part.type === "calls" ? part.calls : []));
const textsOf = (state: ConversationState): string[] => see(state).turns.map((turn) => turn.text);

const ASKED = [t.started(), t.input({ messages: [{ id: "u1", content: "hello" }] })];

/** A run with everything in it: text, two calls side by side, one of which fails, and an answer. */
const WHOLE = [
  ...ASKED,
  t.custom("model_loading", { model: "test:model" }),
  t.textStart("a1"),
  t.text("a1", "Let me "),
  t.text("a1", "see."),
  t.textEnd("a1"),
  t.call("c1", "add", "a1"),
  t.call("c2", "look", "a1"),
  t.args("c1", '{"a":'),
  t.args("c2", '{"q":"x"'),
  t.args("c1", "1}"),
  t.args("c2", "}"),
  t.callEnd("c1"),
  t.callEnd("c2"),
  t.result("c2", "no such thing", { status: "error", duration: 0.25 }),
  t.result("c1", "1"),
  t.textStart("a2"),
  t.text("a2", "It is 1."),
  t.textEnd("a2"),
  t.custom("thread_title", { title: "Hello" }),
  t.finished({ type: "success" }, [
    { inputTokens: 10, outputTokens: 5 },
    { inputTokens: 1, outputTokens: 2 },
  ]),
];

/** Without numbers and phases, which history does not tell. */
const known = (state: ConversationState) => ({
  messages: [...state.messages.values()],
  turns: see(state).turns.map(({ text }) => text),
});

describe("a run that is told live", () => {
  it("keeps the arguments of calls that arrive interleaved apart", () => {
    const calls = callsIn(t.play(WHOLE));
    expect(calls.map((call) => call.arguments)).toEqual(['{"a":1}', '{"q":"x"}']);
  });

  it("shows each state of a call when it is reached", () => {
    const at = (count: number) => callsIn(t.play(WHOLE.slice(0, count))).map((call) => call.status);
    expect(at(8)).toEqual(["arguments"]);
    expect(at(13)).toEqual(["arguments", "arguments"]);
    expect(at(14)).toEqual(["running", "arguments"]);
    expect(at(16)).toEqual(["running", "error"]);
    expect(at(17)).toEqual(["success", "error"]);
  });

  it("tells a failed tool from one that succeeded, with its time and what it said", () => {
    const [good, bad] = callsIn(t.play(WHOLE));
    expect(good).toMatchObject({ status: "success", duration: 0.5, result: "1" });
    expect(bad).toMatchObject({ status: "error", duration: 0.25, result: "no such thing" });
  });

  it("is one turn however many messages it takes, with its model and the sum of its tokens", () => {
    const turn = answerIn(t.play(WHOLE));
    expect(turn.text).toBe("Let me see.\n\nIt is 1.");
    expect(turn).toMatchObject({
      model: "test:model",
      usage: { input_tokens: 11, output_tokens: 7, total_tokens: 18 },
    });
  });

  it("says that the model is being loaded until it says something", () => {
    expect(answerIn(t.play(WHOLE.slice(0, 3))).run?.isLoadingModel).toBe(true);
    expect(answerIn(t.play(WHOLE.slice(0, 4))).run?.isLoadingModel).toBe(false);
  });

  it("keeps one identity for a turn from its first sign to its last word", () => {
    const ids = WHOLE.map((_, index) => t.play(WHOLE.slice(0, index + 1)))
      .flatMap((state) => see(state).turns.filter((turn) => turn.role === "assistant"))
      .map((turn) => turn.id);
    expect(new Set(ids).size).toBe(1);
  });

  it("counts calls that nobody answers any more as cancelled when it was stopped", () => {
    const state = t.play([...WHOLE.slice(0, 14), t.finished({ type: "cancelled" })]);
    expect(callsIn(state).map((call) => call.status)).toEqual(["cancelled", "cancelled"]);
    expect(answerIn(state).run?.phase).toBe("cancelled");
    expect(see(state).live).toBeNull();
  });

  it("keeps what was said before it failed, and says why it failed", () => {
    const state = t.play([
      ...ASKED,
      t.textStart("a1"),
      t.text("a1", "I was"),
      t.failed("Check the key.", "refused_key"),
    ]);
    expect(answerIn(state)).toMatchObject({
      text: "I was",
      run: { phase: "error", error: { code: "refused_key", message: "Check the key." } },
    });
  });

  it("shows an error under the question where not a word was said", () => {
    const state = t.play([...ASKED, t.failed("It is down.", "unreachable")]);
    expect(answerIn(state).run?.error?.message).toBe("It is down.");
  });

  it("takes the end of its server as an interruption", () => {
    expect(answerIn(t.play([...ASKED, t.failed("Ended.", "interrupted")])).run?.phase).toBe("interrupted");
  });

  it("marks a message that was cut", () => {
    const cut = t.play([...ASKED, t.textStart("a1"), t.text("a1", "I w"), t.textEnd("a1", { status: "partial" })]);
    expect(answerIn(cut).isCut).toBe(true);
  });

  it("keeps the title it is given", () => {
    expect(t.play(WHOLE).title).toBe("Hello");
  });
});

describe("a run that is told again", () => {
  const live = t.play(WHOLE);

  it("changes nothing where every event comes twice", () => {
    let state = EMPTY;
    for (const each of t.numbered(WHOLE)) state = reduce(state, { type: "events", runId: "r1", events: [each, each] });
    expect(state).toEqual(live);
  });

  it("changes nothing where it is told anew from the beginning", () => {
    expect(t.play(WHOLE, { state: live })).toEqual(live);
  });

  it("comes to the same from every point at which the connection may break", () => {
    const events = t.numbered(WHOLE);
    for (let split = 0; split <= events.length; split += 1) {
      for (const back of [0, 3]) {
        const first = reduce(EMPTY, { type: "events", runId: "r1", events: events.slice(0, split) });
        const state = reduce(first, { type: "events", runId: "r1", events: events.slice(Math.max(0, split - back)) });
        expect(state).toEqual(live);
      }
    }
  });

  it("comes to the same on top of what history has told of it, from every point", () => {
    for (let split = 2; split <= WHOLE.length; split += 1) {
      const messages = t.stored(t.play(WHOLE.slice(0, split)));
      const opened = reduce(EMPTY, { type: "history", messages, runs: [t.run({ status: "running" })] });
      expect(known(t.play(WHOLE, { state: opened }))).toEqual(known(live));
    }
  });

  it("drops what history told of it and its events do not", () => {
    const messages = t.stored(t.play([...ASKED, t.textStart("ghost"), t.text("ghost", "boo")]));
    const opened = reduce(EMPTY, { type: "history", messages, runs: [t.run({ status: "running" })] });
    expect(known(t.play(WHOLE, { state: opened }))).toEqual(known(live));
  });

  it("is what history tells when it is over", () => {
    const opened = reduce(EMPTY, { type: "history", messages: t.stored(live), runs: [t.run()] });
    expect(known(opened)).toEqual(known(live));
    expect(callsIn(opened)).toEqual(callsIn(live));
  });

  it("is not undone by a history that was asked for before it went on", () => {
    const old = t.stored(t.play(WHOLE.slice(0, 10)));
    const state = reduce(live, { type: "history", messages: old, runs: [t.run({ status: "running" })] });
    expect(state).toEqual(live);
  });

  it("comes to the same from a log of which only the frame and a snapshot are kept", () => {
    const compacted = [
      t.started(),
      t.snapshot([
        { id: "u1", role: "user", content: "hello" },
        {
          id: "a1",
          role: "assistant",
          content: "Let me see.",
          toolCalls: [
            { id: "c1", type: "function", function: { name: "add", arguments: '{"a":1}' } },
            { id: "c2", type: "function", function: { name: "look", arguments: '{"q":"x"}' } },
          ],
        },
        { id: "result-c2", role: "tool", toolCallId: "c2", content: "no such thing", error: "no such thing" },
        { id: "result-c1", role: "tool", toolCallId: "c1", content: "1" },
        { id: "a2", role: "assistant", content: "It is 1." },
      ]),
      t.finished(),
    ];
    const alone = t.play(compacted);
    expect(textsOf(alone)).toEqual(textsOf(live));
    expect(callsIn(alone).map((call) => call.status)).toEqual(["success", "error"]);
    const opened = reduce(EMPTY, { type: "history", messages: t.stored(live), runs: [t.run()] });
    expect(known(t.play(compacted, { state: opened }))).toEqual(known(live));
  });
});

describe("a call that waits for approval", () => {
  const INTERRUPT = { id: "i1", reason: "tool_call", toolCallId: "c1", metadata: { name: "add", args: { a: 1 } } };
  const WAITS = [
    ...ASKED,
    t.call("c1", "add", "a1"),
    t.args("c1", '{"a":1}'),
    t.callEnd("c1"),
    t.finished({ type: "interrupt", interrupts: [INTERRUPT] }),
  ];
  const GOES_ON = [
    t.started("r2"),
    t.input({ parent_id: "a1", resume: true }),
    t.result("c1", "1"),
    t.textStart("a2"),
    t.text("a2", "It is 1."),
    t.finished(),
  ];

  it("waits, live and when the conversation is opened anew", () => {
    const live = t.play(WAITS);
    const runs = [t.run({ status: "interrupted", code: "approval", interrupts: [INTERRUPT] })];
    for (const state of [live, reduce(EMPTY, { type: "history", messages: t.stored(live), runs })]) {
      expect(callsIn(state)[0]).toMatchObject({ status: "waiting", interrupt: { id: "i1" } });
      expect(see(state).waiting?.id).toBe("r1");
    }
  });

  it("goes on in the same turn, in another run", () => {
    const waits = t.play(WAITS);
    const runs = t.play(GOES_ON.slice(0, 2), { state: waits, runId: "r2" });
    expect(callsIn(runs)[0]).toMatchObject({ status: "running", interrupt: null });
    const state = t.play(GOES_ON, { state: waits, runId: "r2" });
    expect(see(state).turns).toHaveLength(2);
    expect(callsIn(state)[0]?.status).toBe("success");
    expect(answerIn(state).text).toBe("It is 1.");
    expect(see(state).waiting).toBeNull();
  });

  it("is answered by what is told elsewhere in the thread, as when something else is said instead", () => {
    const said = [
      t.started("r2"),
      t.input({ parent_id: "a1", messages: [{ id: "u2", content: "never mind" }] }),
      t.result("c1", "", { status: "declined" }),
      t.textStart("a2"),
      t.text("a2", "All right."),
      t.finished(),
    ];
    const state = t.play(said, { state: t.play(WAITS), runId: "r2" });
    const [, first, , second] = see(state).turns as AssistantTurn[];
    expect(first?.parts[0]).toMatchObject({ calls: [{ status: "declined", interrupt: null }] });
    expect(second?.text).toBe("All right.");
  });

  it("is declined by a branch beside it, which is an answer like another", () => {
    const beside = [
      t.started("r2"),
      t.input({ parent_id: "u1" }),
      t.result("c1", "", { status: "declined" }),
      t.textStart("b1"),
      t.text("b1", "Otherwise."),
      t.finished(),
    ];
    const state = t.play(beside, { state: t.play(WAITS), runId: "r2" });
    expect(answerIn(state)).toMatchObject({ text: "Otherwise.", branches: { ids: ["a1", "b1"], index: 1 } });
    const opened = reduce(EMPTY, { type: "history", messages: t.stored(state), runs: [] });
    expect(answerIn(opened)).toMatchObject({ text: "Otherwise.", branches: { ids: ["a1", "b1"], index: 1 } });
    const old = reduce(state, { type: "select", parentId: "u1", childId: "a1" });
    expect(callsIn(old)[0]).toMatchObject({ status: "declined", interrupt: null });
    expect(see(old).waiting).toBeNull();
  });
});

describe("branches", () => {
  const first = t.play([...ASKED, t.textStart("a1"), t.text("a1", "one"), t.finished()]);
  const regenerated = t.play(
    [t.started("r2"), t.input({ parent_id: "u1" }), t.textStart("b1"), t.text("b1", "two"), t.finished()],
    { state: first, runId: "r2" },
  );

  it("shows a new answer beside the old one", () => {
    expect(textsOf(regenerated)).toEqual(["hello", "two"]);
    expect(answerIn(regenerated).branches).toEqual({ parentId: "u1", ids: ["a1", "b1"], index: 1 });
  });

  it("shows the branch that is chosen, and stays there when something comes in another", () => {
    const chosen = reduce(regenerated, { type: "select", parentId: "u1", childId: "a1" });
    expect(textsOf(chosen)).toEqual(["hello", "one"]);
    const again = reduce(chosen, { type: "history", messages: t.stored(regenerated), runs: [] });
    expect(textsOf(again)).toEqual(["hello", "one"]);
  });

  it("shows an edited message in the place of the old one, the root included", () => {
    const edited = t.play(
      [
        t.started("r2"),
        t.input({ messages: [{ id: "u2", content: "hi" }] }),
        t.textStart("b1"),
        t.text("b1", "two"),
        t.finished(),
      ],
      { state: first, runId: "r2" },
    );
    expect(textsOf(edited)).toEqual(["hi", "two"]);
    expect(see(edited).turns[0]?.branches).toMatchObject({ parentId: null, ids: ["u1", "u2"], index: 1 });
  });

  it("opens where the last message was said, in an older branch too", () => {
    const chosen = reduce(regenerated, { type: "select", parentId: "u1", childId: "a1" });
    const state = t.play(
      [
        t.started("r3"),
        t.input({ parent_id: "a1", messages: [{ id: "u3", content: "and?" }] }),
        t.textStart("d1"),
        t.text("d1", "three"),
        t.finished(),
      ],
      { state: chosen, runId: "r3" },
    );
    const opened = reduce(EMPTY, { type: "history", messages: t.stored(state), runs: [] });
    expect(textsOf(opened)).toEqual(["hello", "one", "and?", "three"]);
  });

  it("shows an answer that has not begun in the place where it will be", () => {
    const asked = reduce(first, { type: "sent", runId: "r2", message: null, parentId: "u1", model: null });
    expect(textsOf(asked)).toEqual(["hello", ""]);
    expect(answerIn(asked)).toMatchObject({ run: { phase: "sending" }, branches: { index: 1 } });
  });

  it("puts nothing in the place of an answer when another try failed without a word", () => {
    const failed = t.play([t.started("r2"), t.input({ parent_id: "u1" }), t.failed("Down.", "unreachable")], {
      state: first,
      runId: "r2",
    });
    const retried = t.play(
      [t.started("r3"), t.input({ parent_id: "u1" }), t.textStart("b1"), t.text("b1", "two"), t.finished()],
      { state: failed, runId: "r3" },
    );
    expect(answerIn(retried).branches.ids).toEqual(["a1", "b1"]);
    expect(textsOf(retried)).toEqual(["hello", "two"]);
  });
});

describe("what is sent", () => {
  const sent = reduce(EMPTY, {
    type: "sent",
    runId: "r1",
    message: { id: "u1", content: "hello" },
    parentId: null,
    model: null,
  });

  it("is shown before the service has answered, and is the same message afterwards", () => {
    expect(textsOf(sent)).toEqual(["hello", ""]);
    expect(known(t.play(WHOLE, { state: sent }))).toEqual(known(t.play(WHOLE)));
  });

  it("is gone where the service refuses it", () => {
    expect(reduce(sent, { type: "refused", runId: "r1" })).toMatchObject({ messages: new Map(), runs: new Map() });
  });

  it("waits in the queue while a run is on, and takes its place when its turn comes", () => {
    const busy = t.play(WHOLE.slice(0, 6));
    const queued = reduce(busy, {
      type: "sent",
      runId: "r2",
      message: { id: "u2", content: "and then?" },
      parentId: undefined,
      model: null,
    });
    expect(see(queued).queue.map((each) => each.content)).toEqual(["and then?"]);
    const next = t.play(
      [t.started("r2"), t.input({ parent_id: "a2", messages: [{ id: "u2", content: "and then?" }] })],
      {
        state: t.play(WHOLE, { state: queued }),
        runId: "r2",
      },
    );
    expect(see(next).queue).toEqual([]);
    expect(textsOf(next).at(-2)).toBe("and then?");
  });

  it("leaves no trace where it was taken back before its turn", () => {
    const state = t.play([t.started("r2"), t.input({ parent_id: "a2" }), t.finished({ type: "cancelled" })], {
      state: t.play(WHOLE),
      runId: "r2",
    });
    expect(see(state).turns).toEqual(see(t.play(WHOLE)).turns);
  });
});

describe("the view", () => {
  it("keeps the turns that a new event does not touch", () => {
    const look = viewer();
    const state = t.play([t.started("r2"), t.input({ parent_id: "a2", messages: [{ id: "u2", content: "more" }] })], {
      state: t.play(WHOLE),
      runId: "r2",
    });
    const before = look(state).turns;
    const after = look(
      reduce(state, { type: "events", runId: "r2", events: [{ number: 3, event: t.textStart("a3") }] }),
    ).turns;
    expect(after.slice(0, 3).map((turn, index) => turn === before[index])).toEqual([true, true, true]);
    expect(after[3]).not.toBe(before[3]);
  });

  it("does not go round in circles where messages name each other as parents", () => {
    const messages = t.stored(t.play(WHOLE)).map((each) => ({ ...each, parent_id: each.id }));
    expect(() => see(reduce(EMPTY, { type: "history", messages, runs: [] }))).not.toThrow();
  });
});
