import { act, render, screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { useState } from "react";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { keepToken, storedToken } from "./credentials";
import { type Answers, fakeServer, gate, json, problem } from "./fakeServer";
import { requestJson } from "./http";
import { SessionGate } from "./SessionGate";
import { loadSession, onSignedIn, onSignedOut, resetSession, session, signOut } from "./session";

const USERS: Record<string, string> = { "Bearer ada": "ada", "Bearer bob": "bob", "Bearer ada2": "ada" };
let refused = new Set<string>();

function me(authorization: string | null) {
  const user = USERS[authorization ?? ""];
  if (user === undefined || refused.has(authorization ?? "")) return problem(401, "unauthorized");
  return json({ user, administrator: false, limits: {}, tokens_today: 0 });
}

function server(mode: string, more: Answers = {}) {
  return fakeServer({
    "GET /api/config": () => json({ version: "1", protocol: "1.0", sign_in: mode }),
    "GET /api/me": ({ headers }) => me(mode === "none" ? "Bearer ada" : headers.get("Authorization")),
    "GET /api/threads": ({ headers }) => me(headers.get("Authorization")),
    ...more,
  });
}

/** Something that is lost when it is mounted anew. */
function Page() {
  const [draft, setDraft] = useState("");
  return <input aria-label="draft" value={draft} onChange={(event) => setDraft(event.target.value)} />;
}

function open() {
  return render(
    <SessionGate>
      <Page />
    </SessionGate>,
  );
}

beforeEach(() => {
  resetSession();
  refused = new Set();
});

describe("a first visit", () => {
  it("needs nothing where the server asks for nothing", async () => {
    server("none");
    open();
    expect(await screen.findByLabelText("draft")).toBeVisible();
  });

  it("asks for a token, and takes one with what people copy around it", async () => {
    const asked = server("token");
    const user = userEvent.setup();
    open();

    await user.type(await screen.findByLabelText("Access token"), "  Bearer ada \n");
    await user.click(screen.getByRole("button", { name: "Sign in" }));

    expect(await screen.findByLabelText("draft")).toBeVisible();
    expect(asked.at(-1)?.headers.get("Authorization")).toBe("Bearer ada");
    expect(sessionStorage.getItem("llmkeep.token")).toBe("ada");
    expect(localStorage.getItem("llmkeep.token")).toBeNull();
  });

  it("remembers the token on the device only where that was asked for", async () => {
    server("jwt");
    const user = userEvent.setup();
    open();

    await user.type(await screen.findByLabelText("Access token"), "ada");
    await user.click(screen.getByRole("checkbox"));
    await user.click(screen.getByRole("button", { name: "Sign in" }));
    await screen.findByLabelText("draft");

    expect(localStorage.getItem("llmkeep.token")).toBe("ada");
    expect(sessionStorage.getItem("llmkeep.token")).toBeNull();
  });

  it("says what is wrong with a token, and keeps none that was refused", async () => {
    server("token");
    const user = userEvent.setup();
    open();
    const field = await screen.findByLabelText("Access token");

    await user.click(screen.getByRole("button", { name: "Sign in" }));
    expect(screen.getByRole("alert")).toHaveTextContent("Paste the token first.");

    await user.type(field, "Zaubertrank für ada");
    await user.keyboard("{Enter}");
    expect(screen.getByRole("alert")).toHaveTextContent("This is not a token");

    await user.clear(field);
    await user.type(field, "eve{Enter}");
    await waitFor(() => expect(screen.getByRole("alert")).toHaveTextContent("does not accept this token"));
    expect(field).toHaveFocus();
    expect(storedToken()).toBeNull();
  });

  it("behind a proxy explains who signs in, and has no field for a token", async () => {
    server("proxy");
    open();

    expect(await screen.findByRole("heading", { name: "You are not signed in" })).toBeVisible();
    expect(screen.queryByLabelText("Access token")).toBeNull();
  });

  it("to a server that is down connects as soon as it is there", async () => {
    vi.useFakeTimers();
    fakeServer({});
    open();
    await act(() => vi.advanceTimersByTimeAsync(0));
    expect(screen.getByRole("alert")).toHaveTextContent("The server cannot be reached");

    server("none");
    await act(() => vi.advanceTimersByTimeAsync(3_000));
    expect(screen.getByLabelText("draft")).toBeVisible();
    vi.useRealTimers();
  });
});

describe("a session that ends", () => {
  async function signedIn() {
    keepToken("ada", false);
    server("token");
    open();
    const draft = await screen.findByLabelText("draft");
    await userEvent.type(draft, "half a thought");
  }

  async function expire() {
    refused.add("Bearer ada");
    await act(async () => {
      await requestJson("/api/threads").catch(() => undefined);
    });
  }

  it("asks to sign in over the page, which keeps its draft, and tells whoever waits for that", async () => {
    await signedIn();
    const heard = vi.fn();
    const forget = onSignedIn(heard);
    await expire();
    expect(screen.getByRole("dialog")).toHaveTextContent("What you wrote is still here.");

    await userEvent.type(screen.getByLabelText("Access token"), "ada2{Enter}");

    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
    expect(screen.getByLabelText("draft")).toHaveValue("half a thought");
    expect(heard).toHaveBeenCalledOnce();
    forget();
  });

  it("and goes on as somebody else shows nothing of the one before", async () => {
    await signedIn();
    const left = vi.fn();
    const forget = onSignedOut(left);
    await expire();

    await userEvent.type(screen.getByLabelText("Access token"), "bob{Enter}");

    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
    expect(screen.getByLabelText("draft")).toHaveValue("");
    expect(left).toHaveBeenCalledOnce();
    forget();
  });

  it("is not ended by the late answer to an old token's request", async () => {
    keepToken("old", false);
    const late = gate<Response>();
    server("token", { "GET /api/slow": () => late.promise });
    keepToken("ada", false);
    open();
    await screen.findByLabelText("draft");
    keepToken("old", false);
    const answer = requestJson("/api/slow").catch(() => undefined);
    keepToken("ada", false);

    late.open(problem(401, "unauthorized"));
    await act(async () => {
      await answer;
    });

    expect(session().phase).toBe("ready");
  });

  it("by signing out forgets the token and everything shown", async () => {
    await signedIn();
    act(signOut);

    expect(storedToken()).toBeNull();
    expect(screen.queryByLabelText("draft")).toBeNull();
    expect(screen.getByRole("heading", { name: "Sign in to llmkeep" })).toBeVisible();
  });

  it("by signing out in another tab ends here too", async () => {
    server("token");
    open();
    await userEvent.click(await screen.findByRole("checkbox"));
    await userEvent.type(screen.getByLabelText("Access token"), "ada{Enter}");
    await screen.findByLabelText("draft");

    localStorage.removeItem("llmkeep.token");
    act(() => void window.dispatchEvent(new StorageEvent("storage", { key: "llmkeep.token" })));

    expect(screen.queryByLabelText("draft")).toBeNull();
  });
});

it("only the newest of two questions who we are counts", async () => {
  const slow = gate<Response>();
  let calls = 0;
  fakeServer({
    "GET /api/config": () => json({ version: "1", protocol: "1.0", sign_in: "token" }),
    "GET /api/me": () => (++calls === 1 ? slow.promise : me("Bearer ada")),
  });
  const first = loadSession();
  await loadSession();
  slow.open(problem(401, "unauthorized"));
  await first;

  expect(session()).toMatchObject({ phase: "ready", me: { user: "ada" } });
});
