import { renderHook } from "@testing-library/react";
import { beforeEach, describe, expect, it, vi } from "vitest";

import type { Thread } from "../api/types";
import { type Answers, type Asked, fakeServer, gate, json, problem } from "../signin/fakeServer";
import { toastStore } from "../theme/toasts";
import { threadStore, useThread } from "./store";

function thread(id: string, minute = 0, change: Partial<Thread> = {}): Thread {
  const at = new Date(Date.UTC(2026, 2, 10, 12, minute)).toISOString();
  const plain = { status: "idle" as const, created_at: at, updated_at: at, metadata: {}, last_run_id: null };
  return { thread_id: id, title: `about ${id}`, ...plain, ...change };
}

const [a, b, c] = [thread("a", 30), thread("b", 20), thread("c", 10)];
const shown = () =>
  threadStore
    .getState()
    .threads.map((each) => each.thread_id)
    .join("");
const titleOf = (id: string) => threadStore.getState().threads.find((each) => each.thread_id === id)?.title;
const toasts = () => toastStore.getState().toasts;

async function open(answers: Answers = {}): Promise<Asked[]> {
  const asked = fakeServer({
    "GET /api/threads": () => json({ threads: [a, b, c], next_cursor: null }),
    ...answers,
  });
  await threadStore.load();
  return asked;
}

beforeEach(() => {
  threadStore.reset();
  toastStore.setState({ toasts: [] });
});

describe("loading", () => {
  it("a page at a time, and searching on the server", async () => {
    const asked = await open({
      "GET /api/threads": ({ path }) => {
        const query = new URLSearchParams(path.split("?")[1]);
        if (query.get("q") === "c") return json({ threads: [c], next_cursor: null });
        if (query.get("cursor") === "next") return json({ threads: [c], next_cursor: null });
        return json({ threads: [a, b], next_cursor: "next" });
      },
    });
    expect(shown()).toBe("ab");

    await threadStore.loadMore();
    expect(shown()).toBe("abc");
    await threadStore.loadMore();
    expect(asked).toHaveLength(2);

    await threadStore.search("c");
    expect(shown()).toBe("c");
  });

  it("takes only the answer to the latest search", async () => {
    const slow = gate<Response>();
    await open({
      "GET /api/threads": ({ path }) =>
        path.includes("q=slow") ? slow.promise : json({ threads: [b], next_cursor: null }),
    });

    const first = threadStore.search("slow");
    await threadStore.search("quick");
    slow.open(json({ threads: [a], next_cursor: null }));
    await first;

    expect(shown()).toBe("b");
    expect(threadStore.getState()).toMatchObject({ isLoading: false, isLoaded: true, query: "quick" });
  });

  it("that fails leaves what is there, and says so until it succeeds", async () => {
    let isDown = false;
    await open({
      "GET /api/threads": () => {
        if (isDown) throw new TypeError("refused");
        return json({ threads: [a, b, c], next_cursor: null });
      },
    });
    isDown = true;
    await threadStore.load();
    expect(shown()).toBe("abc");
    expect(threadStore.getState().error).not.toBeNull();

    isDown = false;
    await threadStore.load();
    expect(threadStore.getState().error).toBeNull();
  });

  it("refused for want of a session complains of nothing: the page asks to sign in", async () => {
    await open({ "GET /api/threads": () => problem(401, "unauthorized") });
    expect(threadStore.getState().error).toBeNull();
  });

  it("keeps the cursor behind the older pages when the first is renewed", async () => {
    const many = [...Array(31).keys()].map((at) => thread(`t${at}`, 50 - at));
    await open({
      "GET /api/threads": ({ path }) =>
        path.includes("cursor=30")
          ? json({ threads: many.slice(30), next_cursor: "31" })
          : json({ threads: many.slice(0, 30), next_cursor: "30" }),
    });
    await threadStore.loadMore();
    await threadStore.load();

    expect(threadStore.getState().threads).toHaveLength(31);
    expect(threadStore.getState().cursor).toBe("31");
  });
});

describe("renaming", () => {
  it("is shown at once", async () => {
    const answer = gate<Response>();
    await open({ "PATCH /api/threads/b": () => answer.promise });

    const done = threadStore.rename(b, "better");
    expect(titleOf("b")).toBe("better");
    answer.open(json({ ...b, title: "better" }));
    await done;

    expect(titleOf("b")).toBe("better");
    expect(toasts()).toHaveLength(0);
  });

  it("that is refused is taken back, with what the server said", async () => {
    await open({ "PATCH /api/threads/b": () => problem(422, "invalid_title", "Give it a shorter title.") });

    await threadStore.rename(b, "bad");

    expect(titleOf("b")).toBe("about b");
    expect(toasts()[0]).toMatchObject({ kind: "error", text: "“about b” keeps its title. Give it a shorter title." });
  });

  it("that is refused late does not undo a later one", async () => {
    const first = gate<Response>();
    let calls = 0;
    await open({
      "PATCH /api/threads/b": () => (++calls === 1 ? first.promise : json({ ...b, title: "second" })),
    });

    const done = threadStore.rename(b, "first");
    await threadStore.rename({ ...b, title: "first" }, "second");
    first.open(problem(503, "unavailable"));
    await done;

    expect(titleOf("b")).toBe("second");
  });
});

describe("deleting", () => {
  const soon = () => ({ thread_id: "b", restorable_until: new Date(Date.now() + 30_000).toISOString() });

  it("is shown at once and can be undone while the server can", async () => {
    await open({ "DELETE /api/threads/b": () => json(soon()), "POST /api/threads/b/restore": () => json(b) });

    const done = threadStore.remove(b);
    expect(shown()).toBe("ac");
    expect(await done).toBe(true);

    const [offer] = toasts();
    expect(offer?.until).toBeGreaterThan(Date.now() + 25_000);
    offer?.action?.run();
    expect(shown()).toBe("abc");
    await vi.waitFor(() => expect(toasts().at(-1)?.text).toBe("“about b” is back."));
    expect(shown()).toBe("abc");
  });

  it("counts down by this machine's clock where the server's is another", async () => {
    const wrong = Date.now() + 3_600_000;
    await open({
      "DELETE /api/threads/b": () =>
        json({ thread_id: "b", restorable_until: new Date(wrong + 30_000).toISOString() }, 200, {
          Date: new Date(wrong).toUTCString(),
        }),
    });

    await threadStore.remove(b);

    expect(Math.abs((toasts()[0]?.until ?? 0) - Date.now() - 30_000)).toBeLessThan(2_000);
  });

  it("that is refused brings it back where it was", async () => {
    await open({ "DELETE /api/threads/b": () => problem(503, "draining", "The server is ending.") });

    expect(await threadStore.remove(b)).toBe(false);

    expect(shown()).toBe("abc");
    expect(toasts()[0]?.text).toBe("“about b” was not deleted. The server is ending.");
  });

  it("of what another tab has deleted already is done", async () => {
    await open({ "DELETE /api/threads/b": () => problem(404, "not_found") });

    expect(await threadStore.remove(b)).toBe(true);
    expect(shown()).toBe("ac");
    expect(toasts()).toHaveLength(0);
  });

  it("is not undone by an answer that was under way, nor by the end of its run", async () => {
    const late = gate<Response>();
    let calls = 0;
    await open({
      "GET /api/threads": () => (++calls === 1 ? json({ threads: [a, b, c], next_cursor: null }) : late.promise),
      "DELETE /api/threads/b": () => json(soon()),
    });
    const loading = threadStore.load();
    await threadStore.remove(b);

    late.open(json({ threads: [a, b, c], next_cursor: null }));
    await loading;
    threadStore.touch("b", { status: "idle" });

    expect(shown()).toBe("ac");
  });

  it("that cannot be undone any more says so", async () => {
    await open({
      "DELETE /api/threads/b": () => json(soon()),
      "POST /api/threads/b/restore": () => problem(404, "not_found"),
    });
    await threadStore.remove(b);

    toasts()[0]?.action?.run();
    await vi.waitFor(() => expect(toasts().at(-1)?.text).toContain("the time to undo is over"));

    expect(shown()).toBe("ac");
  });

  it("is undone by the keyboard, the last one first", async () => {
    await open({
      "DELETE /api/threads/a": () => json(soon()),
      "DELETE /api/threads/b": () => json(soon()),
      "POST /api/threads/b/restore": () => json(b),
    });
    await threadStore.remove(a);
    await threadStore.remove(b);

    expect(threadStore.undoLast()).toBe(true);
    await vi.waitFor(() => expect(toasts().at(-1)?.text).toBe("“about b” is back."));
    expect(shown()).toBe("bc");
  });
});

describe("what a conversation's own stream tells", () => {
  it("moves it to the top and shows its state, then its title", async () => {
    await open();

    threadStore.touch("c", { status: "busy" });
    expect(shown()).toBe("cab");
    threadStore.touch("c", { title: "given" });

    expect(threadStore.getState().threads[0]).toMatchObject({ title: "given", status: "busy" });
  });

  it("is known of one that the list has not come to, which does not go on top for that", async () => {
    await open();
    threadStore.touch("old", { title: "from last year" });
    expect(shown()).toBe("abc");
    expect(renderHook(() => useThread("old")).result.current?.title).toBe("from last year");

    threadStore.touch("old", { status: "busy" });
    expect(shown()).toBe("oldabc");
    expect(titleOf("old")).toBe("from last year");
  });

  it("is not undone by an answer to what was asked before", async () => {
    const late = gate<Response>();
    fakeServer({ "GET /api/threads": () => late.promise });
    const loading = threadStore.load();
    threadStore.touch("new", { status: "busy" });
    threadStore.touch("new", { title: "given" });

    late.open(json({ threads: [a, b, thread("new", 40, { title: null })], next_cursor: null }));
    await loading;

    expect(shown()).toBe("newab");
    expect(titleOf("new")).toBe("given");
  });

  it("adds a new conversation on top, but not to a search", async () => {
    await open();
    threadStore.touch("new", { status: "busy" });
    expect(shown()).toBe("newabc");

    await threadStore.search("x");
    threadStore.touch("other", { status: "busy" });
    expect(shown()).not.toContain("other");
  });
});
