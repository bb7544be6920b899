import { expect, it } from "vitest";

import { forgetToken, keepToken, looksLikeToken, storedToken } from "./credentials";

it("a token is in one store alone: what was remembered before is not any more", () => {
  keepToken("old", true);
  keepToken("new", false);
  expect(storedToken()).toBe("new");
  expect(localStorage.length).toBe(0);

  keepToken("newer", true);
  expect(storedToken()).toBe("newer");
  expect(sessionStorage.length).toBe(0);

  forgetToken();
  expect(storedToken()).toBeNull();
});

it.each([
  ["abc.DEF-123_~+/=", true],
  ["two words", false],
  ["line\nbreak", false],
  ["schlüssel", false],
  ["", false],
])("only what a header can hold is a token: %j", (text, isToken) => {
  expect(looksLikeToken(text)).toBe(isToken);
});
