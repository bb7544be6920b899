import { act, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { type Answers, fakeServer, json } from "../signin/fakeServer";
import { loadSession, resetSession } from "../signin/session";
import { toastStore } from "../theme/toasts";
import { KeepView } from "./KeepView";
import { instance, snapshot } from "./samples";
import type { CacheSnapshot } from "./snapshot";

// What is drawn is for a browser's test; here it is the figures.
vi.mock("./Plot", () => ({ default: ({ label }: { label: string }) => <div role="img" aria-label={label} /> }));

let tell: (told: CacheSnapshot) => Promise<void>;

async function open(isAdministrator: boolean, answers: Answers = {}) {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const asked = fakeServer({
    "GET /api/config": () => json({ version: "1", protocol: "1.0", sign_in: "none" }),
    "GET /api/me": () => json({ user: "ada", administrator: isAdministrator, limits: {}, tokens_today: 0 }),
    "GET /api/cache/stream": () =>
      new Response(
        new ReadableStream({
          start(given) {
            controller = given;
          },
        }),
      ),
    ...answers,
  });
  await loadSession();
  tell = async (told) => {
    await vi.waitFor(() => expect(controller).toBeDefined());
    await act(async () => {
      controller?.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(told)}\n\n`));
      await new Promise((resolve) => setTimeout(resolve));
    });
  };
  const { unmount } = render(<KeepView />);
  return { asked, unmount };
}

const FULL = snapshot(
  { acquired: 8, hits: 6, built: 2, builds: 3, builds_ok: 2, build_failures: 1, live: 2, leased: 1, idle: 1 },
  { instances: [instance(), instance({ id: "k2", label: "", leases: 2 })] },
);

beforeEach(() => {
  resetSession();
  toastStore.setState({ toasts: [] });
});

afterEach(() => vi.useRealTimers());

describe("the keep", () => {
  it("is for administrators, and says so to others without asking the server", async () => {
    const { asked } = await open(false);

    expect(screen.getByText("Only administrators can see the keep")).toBeVisible();
    expect(asked.some((each) => each.path.includes("cache"))).toBe(false);
  });

  it("shows each instance, and what the figures come to", async () => {
    await open(true);
    await tell(FULL);

    const [, first, second] = screen.getAllByRole("row");
    expect(first).toHaveTextContent("openai:gpt-5-mini");
    expect(first).toHaveTextContent("ready");
    expect(second).toHaveTextContent("Unnamed");
    expect(second).toHaveTextContent("in use");
    expect(screen.getByText("75%")).toBeVisible();
    expect(screen.getByText("1 failed")).toBeVisible();
    expect(screen.getByText("Live")).toBeVisible();
  });

  it("shows what else is kept to whoever wants to see that", async () => {
    await open(true);
    await tell(
      snapshot(
        { live: 1, idle: 1 },
        { instances: [instance(), instance({ id: "k2", cache: "turns", label: "talk" })] },
      ),
    );
    expect(screen.getAllByRole("row")).toHaveLength(2);

    await userEvent.click(screen.getByRole("checkbox", { name: /Also show/ }));

    expect(screen.getByRole("row", { name: /talk turns/ })).toBeVisible();
  });

  it("says that it is empty", async () => {
    await open(true);
    await tell(snapshot());
    expect(screen.getByText("The keep is empty")).toBeVisible();
  });

  it("tells the charts' figures to who does not see them, and has them as a table", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: new Date(2026, 2, 10, 14, 5, 1) });
    await open(true);
    await tell(FULL);
    vi.setSystemTime(new Date(2026, 2, 10, 14, 5, 3));
    await tell(snapshot({ ...FULL.stats, acquired: 13, hits: 11 }));
    expect(screen.queryByRole("img", { name: /per second/ })).toBeNull();
    vi.setSystemTime(new Date(2026, 2, 10, 14, 5, 5));
    await tell(snapshot({ ...FULL.stats, acquired: 18, hits: 16 }));

    expect(
      await screen.findByRole("img", {
        name: "Leases granted per second: found ready 2.5, built anew 0, waited for a build 0",
      }),
    ).toBeVisible();
    const chart = screen.getByRole("figure", { name: "Leases granted per second" });
    await userEvent.click(within(chart).getByText("Show as a table"));
    expect(within(chart).getByRole("row", { name: /2:05/ })).toHaveTextContent("2.5");
  });

  it("is paused by closing the stream", async () => {
    const { asked } = await open(true);
    await tell(FULL);
    await userEvent.click(screen.getByRole("button", { name: "Pause" }));

    expect(screen.getByRole("status")).toHaveTextContent("Paused");
    expect(asked.find((each) => each.path.includes("stream"))?.signal?.aborted).toBe(true);
    await userEvent.click(screen.getByRole("button", { name: "Resume" }));
    expect(asked.filter((each) => each.path.includes("stream"))).toHaveLength(2);
  });

  it("is cleared only after a question", async () => {
    const { asked } = await open(true, { "POST /api/cache/clear": () => json({ cleared: 2 }) });
    const cleared = () => asked.filter((each) => each.method === "POST").length;
    await tell(FULL);

    await userEvent.click(screen.getByRole("button", { name: "Clear the keep" }));
    expect(screen.getByRole("dialog")).toHaveTextContent("2 instances will be retired.");
    await userEvent.click(screen.getByRole("button", { name: "Cancel" }));
    expect(cleared()).toBe(0);

    await userEvent.click(screen.getByRole("button", { name: "Clear the keep" }));
    await userEvent.click(screen.getByRole("button", { name: "Clear" }));
    expect(cleared()).toBe(1);
    expect(toastStore.getState().toasts[0]?.text).toBe("2 instances were retired.");
  });
});
