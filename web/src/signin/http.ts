/**
 * Requests to our own server: with the credentials of whoever is signed in, errors as `ApiProblem`
 * or `Offline`. A 401 is told to the session, which asks to sign in again.
 */

import { texts } from "../i18n";
import { storedToken } from "./credentials";

/** An answer that says what is wrong: problem+json, or anything else with such a status. */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    /** What a person can do about it. */
    readonly detail: string,
    /** Seconds, where the server named a time. */
    readonly retryAfter: number | null = null,
    readonly extras: Readonly<Record<string, unknown>> = {},
  ) {
    super(detail);
    this.name = "ApiProblem";
  }
}

/** No answer at all. */
export class Offline extends Error {
  constructor(options?: ErrorOptions) {
    super("the server cannot be reached", options);
    this.name = "Offline";
  }
}

type Listener = (refused: string | null) => void;

let onUnauthorised: Listener = () => undefined;

/** The session's ear: called with the token that was refused, null if there was none. */
export function listenForUnauthorised(listener: Listener): void {
  onUnauthorised = listener;
}

/** `fetch` with credentials. Throws `Offline`, or the AbortError of the signal; a 401 is returned too. */
export async function authorizedFetch(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
  const token = storedToken();
  const headers = new Headers(init.headers);
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(input, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Offline({ cause: error });
  }
  if (response.status === 401) onUnauthorised(token);
  return response;
}

export interface JsonRequest {
  readonly method?: "GET" | "POST" | "PATCH" | "DELETE";
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** The JSON that the server answers. Throws `ApiProblem`, `Offline` or the signal's AbortError. */
export async function requestJson<T>(path: string, asked: JsonRequest = {}): Promise<T> {
  const response = await request(path, asked);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (asked.signal?.aborted) throw error;
    throw new Offline({ cause: error });
  }
}

/** As `requestJson`, for whoever wants the response itself: it is a good one. */
export async function request(path: string, { method = "GET", body, signal }: JsonRequest = {}): Promise<Response> {
  const headers = new Headers({ Accept: "application/json" });
  const init: RequestInit = { method, headers };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    headers.set("Content-Type", "application/json");
  }
  const response = await authorizedFetch(path, init);
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** What a refusal says; of a proxy's own error page only the status is known. */
export async function problemOf(response: Response): Promise<ApiProblem> {
  let said: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(await response.text());
    if (typeof parsed === "object" && parsed !== null) said = parsed as Record<string, unknown>;
  } catch {
    // Not JSON, or the connection broke while it was read.
  }
  const { status: _status, title: _title, type: _type, code, detail, ...extras } = said;
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  return new ApiProblem(
    response.status,
    typeof code === "string" ? code : "unknown",
    typeof detail === "string" ? detail : "",
    Number.isFinite(seconds) ? seconds : null,
    extras,
  );
}

/** One sentence for a person about anything the functions above throw. */
export function explain(error: unknown): string {
  const { common, problems } = texts();
  if (error instanceof Offline) return common.offline;
  if (!(error instanceof ApiProblem)) return common.unexpected;
  const what = problems[error.code] ?? (error.detail || common.unexpected);
  return error.retryAfter === null ? what : common.inOne(what, common.retryAfter(error.retryAfter));
}
