import { beforeEach, describe, expect, it, vi } from "vitest";

import { setPreference } from "../settings/preferences";
import { keepToken } from "./credentials";
import { fakeServer, json, problem } from "./fakeServer";
import { ApiProblem, explain, listenForUnauthorised, Offline, requestJson } from "./http";

beforeEach(() => listenForUnauthorised(() => undefined));

describe("a request", () => {
  it("carries the token of whoever is signed in, and none where nobody is", async () => {
    const asked = fakeServer({ "GET /api/me": () => json({}) });

    await requestJson("/api/me");
    keepToken("secret", false);
    await requestJson("/api/me");

    expect(asked.map((each) => each.headers.get("Authorization"))).toEqual([null, "Bearer secret"]);
  });

  it("sends a body as JSON", async () => {
    const asked = fakeServer({ "PATCH /api/threads/a": () => json({ title: "b" }) });

    expect(await requestJson("/api/threads/a", { method: "PATCH", body: { title: "b" } })).toEqual({ title: "b" });
    expect(asked[0]?.headers.get("Content-Type")).toBe("application/json");
    expect(asked[0]?.body).toEqual({ title: "b" });
  });

  it("that is refused tells what the server said", async () => {
    fakeServer({
      "GET /x": () => json({ code: "thread_busy", detail: "Wait.", run_id: "r" }, 409, { "Retry-After": "7" }),
    });

    const error = await requestJson("/x").catch((reason: unknown) => reason);

    expect(error).toBeInstanceOf(ApiProblem);
    expect(error).toMatchObject({
      status: 409,
      code: "thread_busy",
      detail: "Wait.",
      retryAfter: 7,
      extras: { run_id: "r" },
    });
    expect(explain(error)).toBe("Wait. Try again in 7 seconds.");
  });

  it("that a proxy refuses with a page of its own is a problem too", async () => {
    fakeServer({ "GET /x": () => new Response("<h1>Bad gateway</h1>", { status: 502 }) });

    const error = await requestJson("/x").catch((reason: unknown) => reason);

    expect(error).toMatchObject({ status: 502, code: "unknown", detail: "" });
    expect(explain(error)).toBe("Something went wrong. Try again.");
  });

  it("without an answer, or with half of one, is offline", async () => {
    fakeServer({ "GET /half": () => new Response('{"threads": [') });

    await expect(requestJson("/nothing")).rejects.toBeInstanceOf(Offline);
    await expect(requestJson("/half")).rejects.toBeInstanceOf(Offline);
  });

  it("that was given up is not called offline", async () => {
    const leaving = new AbortController();
    leaving.abort();
    fakeServer({ "GET /x": ({ signal }) => Promise.reject(signal?.reason) });

    await expect(requestJson("/x", { signal: leaving.signal })).rejects.toHaveProperty("name", "AbortError");
  });

  it("answered 401 tells the session which token was refused", async () => {
    const heard = vi.fn();
    listenForUnauthorised(heard);
    fakeServer({ "GET /x": () => problem(401, "unauthorized") });
    keepToken("old", true);

    await expect(requestJson("/x")).rejects.toMatchObject({ status: 401 });

    expect(heard).toHaveBeenCalledExactlyOnceWith("old");
  });
});

describe("a refusal", () => {
  it("is told in Chinese where the code is known, else as the server said it", () => {
    setPreference("language", "zh");
    expect(explain(new ApiProblem(429, "rate_limited", "Slow down.", 3))).toBe("请求太频繁。请在 3 秒后重试。");
    expect(explain(new ApiProblem(409, "something_new", "Slow down."))).toBe("Slow down.");
    setPreference("language", null);
  });
});
