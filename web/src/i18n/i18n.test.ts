import { describe, expect, it } from "vitest";

import { en } from "./en";
import { makeFormats } from "./formats";
import { zh } from "./zh";

/** Every text by its path; a function's is what it says to arguments that can be recognised. */
function flatten(texts: object, path = ""): Map<string, string> {
  const all = new Map<string, string>();
  for (const [name, value] of Object.entries(texts)) {
    const here = `${path}.${name}`;
    if (typeof value === "string") all.set(here, value);
    else if (typeof value === "function") all.set(here, value(...[...Array(value.length).keys()].map((at) => 41 + at)));
    else for (const [inner, text] of flatten(value, here)) all.set(inner, text);
  }
  return all;
}

describe("the texts", () => {
  const english = flatten(en);
  const chinese = flatten(zh);

  it("are all there, in both languages", () => {
    for (const [path, text] of [...english, ...chinese]) expect(text.trim(), path).not.toBe("");
  });

  it("say the same figures in both languages", () => {
    for (const [path, text] of english) expect(chinese.get(path)?.match(/4\d/g), path).toEqual(text.match(/4\d/g));
  });

  it("are Chinese where they are Chinese", () => {
    const kept = new Set([".settings.version"]);
    for (const [path, text] of chinese) {
      if (!kept.has(path) && /[a-z]{3}/i.test(english.get(path) ?? "")) {
        expect(/\p{Script=Han}/u.test(text) || !/[a-z]{3}/i.test(text), `${path}: ${text}`).toBe(true);
      }
    }
  });

  it("know one and many", () => {
    expect(en.threads.found(1)).toBe("1 conversation");
    expect(en.threads.found(1200)).toBe("1,200 conversations");
  });
});

describe("dates and durations", () => {
  const now = new Date("2026-03-10T12:00:00Z");
  const ago = (seconds: number) => new Date(now.getTime() - seconds * 1000);

  it.each([
    [0, "now", "现在"],
    [59, "now", "现在"],
    [60, "1 minute ago", "1分钟前"],
    [3 * 3600, "3 hours ago", "3小时前"],
    [86_400, "yesterday", "昨天"],
    [8 * 86_400, "last week", "上周"],
    // A clock that is behind the server's.
    [-30, "now", "现在"],
  ])("%d seconds ago", (seconds, english, chinese) => {
    expect(makeFormats("en").relative(ago(seconds), now)).toBe(english);
    expect(makeFormats("zh").relative(ago(seconds), now)).toBe(chinese);
  });

  it.each([
    [0.42, "0.4 sec"],
    [59.4, "59 sec"],
    [3599, "59 min"],
    [5400, "1.5 hr"],
    [172_800, "2 days"],
  ])("a span of %d seconds", (seconds, text) => {
    expect(makeFormats("en").duration(seconds)).toBe(text);
  });
});
