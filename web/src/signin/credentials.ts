/**
 * The token a person signed in with: for this tab's life, or remembered on the device if they asked
 * for that. It goes nowhere but into the Authorization header of requests to our own server.
 */

import { readStored, writeStored } from "../settings/storage";

const KEY = "llmkeep.token";

export function storedToken(): string | null {
  return readStored(KEY, "session") ?? readStored(KEY, "device");
}

export function keepToken(token: string, remember: boolean): void {
  writeStored(KEY, token, remember ? "device" : "session");
  writeStored(KEY, null, remember ? "session" : "device");
}

export function forgetToken(): void {
  writeStored(KEY, null, "session");
  writeStored(KEY, null, "device");
}

/** Whether a storage event is about the token. */
export function isTokenKey(key: string | null): boolean {
  return key === KEY || key === null;
}

/** A header's value can hold no more than this; anything else would make fetch throw. */
export function looksLikeToken(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}
