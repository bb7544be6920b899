import { fireEvent, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, describe, expect, it, vi } from "vitest";

import type { Thread } from "../api/types";
import { type Answers, fakeServer, json } from "../signin/fakeServer";
import { threadStore } from "./store";
import { ThreadList } from "./ThreadList";

function thread(id: string, minutesAgo: number, change: Partial<Thread> = {}): Thread {
  const at = new Date(Date.now() - minutesAgo * 60_000).toISOString();
  const plain = { status: "idle" as const, created_at: at, updated_at: at, metadata: {}, last_run_id: null };
  return { thread_id: id, title: `about ${id}`, ...plain, ...change };
}

const threads = [
  thread("a", 1),
  thread("b", 5, { status: "busy" }),
  thread("c", 9, { status: "interrupted", title: "" }),
];

async function open(answers: Answers = {}) {
  const asked = fakeServer({ "GET /api/threads": () => json({ threads, next_cursor: null }), ...answers });
  const props = { onOpen: vi.fn(), onNew: vi.fn(), onDeleted: vi.fn() };
  render(<ThreadList activeId="b" {...props} />);
  await screen.findByRole("link", { name: /about a/ });
  return { asked, user: userEvent.setup(), ...props };
}

beforeEach(() => {
  threadStore.reset();
  vi.stubGlobal(
    "IntersectionObserver",
    class {
      observe() {}
      disconnect() {}
    },
  );
});

describe("the list of conversations", () => {
  it("names each, its state and its date, and marks the one that is open", async () => {
    await open();

    expect(screen.getByRole("link", { name: "about a 1 minute ago" })).not.toHaveAttribute("aria-current");
    expect(screen.getByRole("link", { name: /about b Answering/ })).toHaveAttribute("aria-current", "page");
    expect(screen.getByRole("link", { name: /Untitled conversation Waiting for you/ })).toBeVisible();
  });

  it("opens one on a click, but leaves a click for a new tab to the browser", async () => {
    const { user, onOpen } = await open();
    const link = screen.getByRole("link", { name: /about a/ });

    fireEvent.click(link, { ctrlKey: true });
    expect(onOpen).not.toHaveBeenCalled();
    await user.click(link);

    expect(onOpen).toHaveBeenCalledExactlyOnceWith("a");
  });

  it("is one stop of the Tab key, the open conversation; arrow keys do the rest", async () => {
    const { user } = await open();
    const link = (name: RegExp) => screen.getByRole("link", { name });

    expect(screen.getAllByRole("link").filter((each) => each.tabIndex === 0)).toEqual([
      screen.getByRole("link", { name: "New conversation" }),
      link(/about b/),
    ]);
    link(/about b/).focus();
    await user.keyboard("{ArrowDown}");
    expect(link(/Untitled/)).toHaveFocus();
    await user.keyboard("{Home}");
    expect(link(/about a/)).toHaveFocus();
  });

  it("renames by F2 and Enter, and not by Escape", async () => {
    const { user, asked } = await open({
      "PATCH /api/threads/a": ({ body }) => json({ ...threads[0], ...(body as object) }),
    });
    screen.getByRole("link", { name: /about a/ }).focus();

    await user.keyboard("{F2}");
    await user.keyboard("nothing{Escape}");
    expect(screen.getByRole("link", { name: /about a/ })).toBeVisible();
    screen.getByRole("link", { name: /about a/ }).focus();
    await user.keyboard("{F2}");
    await user.keyboard("better{Enter}");

    expect(await screen.findByRole("link", { name: /better/ })).toBeVisible();
    expect(asked.filter((each) => each.method === "PATCH").map((each) => each.body)).toEqual([{ title: "better" }]);
  });

  it("leaves Escape to an input method that composes", async () => {
    const { user } = await open();
    screen.getByRole("link", { name: /about a/ }).focus();
    await user.keyboard("{F2}");

    fireEvent.keyDown(screen.getByRole("textbox"), { key: "Escape", isComposing: true });

    expect(screen.getByRole("textbox")).toBeVisible();
  });

  it("deletes by the Delete key, moves on to the next, and tells when it is gone", async () => {
    const { user, onDeleted } = await open({
      "DELETE /api/threads/b": () => json({ thread_id: "b", restorable_until: new Date().toISOString() }),
    });
    screen.getByRole("link", { name: /about b/ }).focus();

    await user.keyboard("{Delete}");

    expect(screen.queryByRole("link", { name: /about b/ })).toBeNull();
    expect(screen.getByRole("link", { name: /Untitled/ })).toHaveFocus();
    await vi.waitFor(() => expect(onDeleted).toHaveBeenCalledExactlyOnceWith("b"));
  });

  it("searches after a pause, says how many were found, and comes back by Escape", async () => {
    const { user, asked } = await open({
      "GET /api/threads": ({ path }) =>
        json({ threads: path.includes("q=") ? threads.slice(0, 1) : threads, next_cursor: null }),
    });
    const field = screen.getByRole("searchbox");

    await user.type(field, "about");
    expect(await screen.findByText("1 conversation")).toBeInTheDocument();
    expect(asked.filter((each) => each.path.includes("q=")).map((each) => each.path)).toEqual([
      "/api/threads?limit=30&q=about",
    ]);
    await user.keyboard("{Escape}");

    expect(await screen.findByRole("link", { name: /about b/ })).toBeVisible();
  });
});

describe("without conversations the list", () => {
  it.each([
    ["says that there are none yet", () => json({ threads: [], next_cursor: null }), "No conversations yet"],
    ["says that it could not be loaded", () => Promise.reject(new TypeError()), "could not be loaded"],
  ])("%s", async (_rule, answer, text) => {
    fakeServer({ "GET /api/threads": answer });
    render(<ThreadList activeId={null} onOpen={vi.fn()} onNew={vi.fn()} onDeleted={vi.fn()} />);
    expect(await screen.findByText(new RegExp(text))).toBeVisible();
  });

  it("that could not be loaded can be asked for again", async () => {
    fakeServer({});
    render(<ThreadList activeId={null} onOpen={vi.fn()} onNew={vi.fn()} onDeleted={vi.fn()} />);
    const alert = await screen.findByRole("alert");

    fakeServer({ "GET /api/threads": () => json({ threads, next_cursor: null }) });
    await userEvent.click(within(alert).getByRole("button", { name: "Try again" }));

    expect(await screen.findByRole("link", { name: /about a/ })).toBeVisible();
  });
});
