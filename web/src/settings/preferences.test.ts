import { afterEach, describe, expect, it } from "vitest";

import {
  applyPreferences,
  browserLanguage,
  followOtherTabs,
  parsePreferences,
  preferences,
  setPreference,
} from "./preferences";

const KEY = "llmkeep.preferences";

afterEach(() => {
  setPreference("language", null);
  setPreference("theme", "system");
  setPreference("model", null);
});

describe("what was stored", () => {
  it("is taken as far as it can be understood", () => {
    expect(parsePreferences('{"language":"zh","theme":"dark","model":"a:b"}')).toEqual({
      language: "zh",
      theme: "dark",
      model: "a:b",
    });
    expect(parsePreferences('{"language":"fr","theme":"dark","model":7}')).toEqual({
      language: null,
      theme: "dark",
      model: null,
    });
  });

  it.each([null, "", "{", "null", "[]", '"dark"', "7"])("may be anything: %s", (text) => {
    expect(parsePreferences(text)).toEqual({ language: null, theme: "system", model: null });
  });
});

describe("a choice", () => {
  it("is in effect at once and is there after a reload", () => {
    setPreference("theme", "dark");
    setPreference("language", "zh");

    expect(document.documentElement.dataset.theme).toBe("dark");
    expect(document.documentElement.lang).toBe("zh-CN");
    expect(parsePreferences(localStorage.getItem(KEY))).toEqual(preferences());
  });

  it("of the system's theme leaves the decision to the style sheet", () => {
    setPreference("theme", "light");
    setPreference("theme", "system");

    expect(document.documentElement.dataset.theme).toBeUndefined();
  });

  it("made in another tab is followed", () => {
    const stop = followOtherTabs();
    localStorage.setItem(KEY, '{"theme":"dark"}');
    window.dispatchEvent(new StorageEvent("storage", { key: KEY }));
    stop();

    expect(preferences().theme).toBe("dark");
    expect(document.documentElement.dataset.theme).toBe("dark");
  });
});

describe("the language of a first visit", () => {
  it.each([
    [["zh-TW", "en"], "zh"],
    [["fr", "zh-CN", "en"], "zh"],
    [["de-DE", "en-GB"], "en"],
    [["fr"], "en"],
    [[], "en"],
  ])("is the browser's: %j", (languages, spoken) => {
    expect(browserLanguage(languages)).toBe(spoken);
  });

  it("is told to screen readers", () => {
    applyPreferences();
    expect(document.documentElement.lang).toBe("en");
  });
});
