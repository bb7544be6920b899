/** For tests: answers `fetch` by method and path, and keeps what was asked. */

import { vi } from "vitest";

export interface Asked {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Headers;
  readonly body: unknown;
  readonly signal: AbortSignal | null;
}

export type Answer = Response | Promise<Response>;
export type Answers = Record<string, (asked: Asked) => Answer>;

export function json(body: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return Response.json(body, { status, headers });
}

export function problem(status: number, code: string, detail = "Do something else."): Response {
  return json({ type: "about:blank", title: "No", status, code, detail }, status);
}

/** Routes are "METHOD /path", the query left out. Returns the list that grows with each request. */
export function fakeServer(answers: Answers): Asked[] {
  const all: Asked[] = [];
  vi.stubGlobal("fetch", async (input: RequestInfo | URL, init: RequestInit = {}) => {
    const asked: Asked = {
      method: init.method ?? "GET",
      path: String(input),
      headers: new Headers(init.headers),
      body: typeof init.body === "string" ? JSON.parse(init.body) : undefined,
      signal: init.signal ?? null,
    };
    all.push(asked);
    const answer = answers[`${asked.method} ${asked.path.split("?")[0]}`];
    if (!answer) throw new TypeError(`nothing answers ${asked.method} ${asked.path}`);
    return answer(asked);
  });
  return all;
}

/** A promise to be settled by the test. */
export function gate<T>(): { promise: Promise<T>; open(value: T): void; fail(error: unknown): void } {
  let open!: (value: T) => void;
  let fail!: (error: unknown) => void;
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}
