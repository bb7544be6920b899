import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { fakeServer, problem } from "../signin/fakeServer";
import { type Connection, followCache } from "./follow";
import { snapshot } from "./samples";

const PATH = "GET /api/cache/stream";

/** A stream that the test writes to. It breaks when the request is given up, as fetch's does. */
function stream(signal: AbortSignal | null) {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({
    start(given) {
      controller = given;
    },
  });
  signal?.addEventListener("abort", () => controller.error(signal.reason));
  return {
    response: new Response(body, { headers: { "Content-Type": "text/event-stream" } }),
    send: (text: string) => controller.enqueue(new TextEncoder().encode(text)),
    tell: (acquired: number) =>
      controller.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(snapshot({ acquired }))}\n\n`)),
    end: () => controller.close(),
  };
}

type Stream = ReturnType<typeof stream>;

let leaving: AbortController;
let connections: Connection[];
let seen: number[];
let streams: Stream[];

function follow(answer?: (count: number) => Response | undefined) {
  fakeServer({
    [PATH]: ({ signal }) => {
      const refusal = answer?.(streams.length);
      if (refusal) return refusal;
      const made = stream(signal);
      streams.push(made);
      return made.response;
    },
  });
  void followCache(
    {
      onSnapshot: ({ stats }) => seen.push(stats.acquired),
      onConnection: (connection) => {
        if (connections.at(-1) !== connection) connections.push(connection);
      },
    },
    leaving.signal,
  );
}

const pass = (milliseconds = 0) => vi.advanceTimersByTimeAsync(milliseconds);

beforeEach(() => {
  vi.useFakeTimers();
  leaving = new AbortController();
  [connections, seen, streams] = [[], [], []];
});

afterEach(async () => {
  leaving.abort();
  await pass();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

describe("the cache's stream", () => {
  it("is read as it comes, whatever the pieces it comes in", async () => {
    follow();
    await pass();
    streams[0]?.send(": ping\n\n");
    streams[0]?.tell(1);
    await pass();
    const text = `data: ${JSON.stringify(snapshot({ acquired: 2 }))}\n\n`;
    streams[0]?.send(text.slice(0, 20));
    await pass();
    streams[0]?.send(text.slice(20));
    await pass();

    expect(seen).toEqual([1, 2]);
    expect(connections).toEqual(["connecting", "live"]);
  });

  it("that ends is opened again, later each time until something comes", async () => {
    follow();
    for (const wait of [1_000, 2_000, 4_000]) {
      await pass();
      streams.at(-1)?.end();
      const count = streams.length;
      await pass(wait - 1);
      expect(streams).toHaveLength(count);
      await pass(1);
      expect(streams).toHaveLength(count + 1);
    }
    streams.at(-1)?.tell(7);
    await pass();
    streams.at(-1)?.end();
    await pass(1_000);

    expect(streams).toHaveLength(5);
    expect(connections).toEqual(["connecting", "lost", "live", "lost"]);
  });

  it("that falls silent is taken for dead", async () => {
    follow();
    await pass();
    streams[0]?.tell(1);
    await pass(9_999);
    expect(connections.at(-1)).toBe("live");
    await pass(1);
    expect(connections.at(-1)).toBe("lost");
    await pass(1_000);
    expect(streams).toHaveLength(2);
  });

  it("is opened at once when the network is back", async () => {
    follow((count) => (count === 0 ? problem(503, "draining") : undefined));
    await pass();
    streams.push(stream(null));
    window.dispatchEvent(new Event("online"));
    await pass();

    expect(streams).toHaveLength(2);
  });

  it("that is refused to this user is not asked for again", async () => {
    follow(() => problem(403, "forbidden"));
    await pass(60_000);

    expect(connections).toEqual(["connecting", "forbidden"]);
  });

  it("that nobody wants to see any more is closed", async () => {
    follow();
    await pass();
    streams[0]?.tell(1);
    await pass();
    leaving.abort();
    await pass(60_000);

    expect(streams).toHaveLength(1);
    expect(connections).toEqual(["connecting", "live"]);
  });
});
