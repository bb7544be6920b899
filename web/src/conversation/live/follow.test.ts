/** Following a run over connections that end: nothing is taken for the end but the end. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApiProblem } from "../../signin";
import { finished, input, started, text } from "../state/testing";
import type { NumberedEvent } from "../state/types";
import { type Following, followRun } from "./follow";

const EVENTS = [started(), input({ messages: [] }), text("a1", "Hel"), text("a1", "lo"), finished()];
const frame = (number: number) => `id: ${number}\ndata: ${JSON.stringify(EVENTS[number - 1])}\n\n`;
const frames = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => frame(from + index)).join("");

const stream = (...chunks: string[]) =>
  new Response(
    new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
        controller.close();
      },
    }),
    { headers: { "Content-Type": "text/event-stream" } },
  );
const problem = (status: number, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify({ title: "No", detail: "Do this.", code: "some_code" }), { status, headers });

type Reply = (init: RequestInit) => Response;
let requests: { method: string; path: string; lastEventId: string | null; body: string | null }[];
let replies: Reply[];

beforeEach(() => {
  vi.useFakeTimers();
  requests = [];
  replies = [];
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    const lastEventId = new Headers(init.headers).get("Last-Event-ID");
    requests.push({ method: init.method ?? "GET", path, lastEventId, body: (init.body as string) ?? null });
    const reply = replies.shift();
    if (!reply) throw new TypeError("nothing more is to be asked");
    return reply(init);
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

async function follow(more: Partial<Following> = {}) {
  const heard: NumberedEvent[] = [];
  const connections: boolean[] = [];
  const following = followRun({
    threadId: "t",
    runId: "r1",
    ask: { threadId: "t", runId: "r1", messages: [], tools: [], context: [] },
    after: 0,
    signal: new AbortController().signal,
    onEvents: (events) => heard.push(...events),
    onConnection: (isConnected) => connections.push(isConnected),
    ...more,
  });
  const end = following.then(
    () => "ended",
    (error: unknown) => error,
  );
  await vi.advanceTimersByTimeAsync(120_000);
  return { heard: heard.map((each) => each.number), connections, end: await end };
}

const down: Reply = () => {
  throw new TypeError("Failed to fetch");
};

describe("followRun", () => {
  it("hears a run that nothing disturbs, however its bytes are cut", async () => {
    replies = [() => stream(...(frames(1, 5).match(/.{1,7}/gs) ?? []))];
    const { heard, end } = await follow();
    expect(heard).toEqual([1, 2, 3, 4, 5]);
    expect(end).toBe("ended");
    expect(requests).toHaveLength(1);
  });

  it("takes a stream without its end for a lost connection, and asks for the rest", async () => {
    for (let cut = 1; cut < 5; cut += 1) {
      requests = [];
      replies = [() => stream(frames(1, cut)), () => stream(frames(cut + 1, 5))];
      const { heard, connections, end } = await follow();
      expect(heard).toEqual([1, 2, 3, 4, 5]);
      expect(end).toBe("ended");
      expect(connections).toContain(false);
      expect(connections.at(-1)).toBe(true);
      expect(requests[1]).toMatchObject({ method: "GET", lastEventId: String(cut) });
    }
  });

  it("asks again, the same, where it does not know whether it was heard", async () => {
    replies = [down, down, () => stream(frames(1, 5))];
    const { end } = await follow();
    expect(end).toBe("ended");
    expect(requests.map((each) => each.method)).toEqual(["POST", "POST", "POST"]);
    expect(new Set(requests.map((each) => each.body)).size).toBe(1);
  });

  it("never asks anew for a run that was taken", async () => {
    replies = [() => stream(frames(1, 2)), down, () => problem(503), () => problem(500), () => stream(frames(3, 5))];
    const { heard, end } = await follow();
    expect(end).toBe("ended");
    expect(heard).toEqual([1, 2, 3, 4, 5]);
    expect(requests.slice(1).map((each) => each.method)).toEqual(["GET", "GET", "GET", "GET"]);
  });

  it("waits as long as it is told to", async () => {
    replies = [() => problem(503, { "Retry-After": "60" }), () => stream(frames(1, 5))];
    const { end } = await follow();
    expect(end).toBe("ended");
    expect(requests).toHaveLength(2);
  });

  it("gives up where it is refused", async () => {
    for (const status of [409, 413, 422, 429]) {
      replies = [() => problem(status)];
      const { end } = await follow();
      expect(end).toBeInstanceOf(ApiProblem);
    }
    replies = [() => stream(frames(1, 2)), () => problem(404)];
    expect((await follow()).end).toBeInstanceOf(ApiProblem);
  });

  it("takes a connection on which nothing comes, not even a sign of life, for lost", async () => {
    const silent: Reply = ({ signal }) =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode(frames(1, 3)));
            signal?.addEventListener("abort", () => controller.error(signal.reason));
          },
        }),
      );
    replies = [silent, () => stream(frames(4, 5))];
    const { heard, end } = await follow();
    expect(end).toBe("ended");
    expect(heard).toEqual([1, 2, 3, 4, 5]);
  });

  it("ends when it is given up, in the middle of waiting too", async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 5000);
    const { end } = await follow({ signal: controller.signal });
    expect(end).toMatchObject({ name: "AbortError" });
  });
});
