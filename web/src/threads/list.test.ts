import { describe, expect, it } from "vitest";

import type { Thread } from "../api/types";
import { append, groupByPeriod, periodOf, renew, withThread } from "./list";

function thread(id: string, minute: number): Thread {
  const at = new Date(Date.UTC(2026, 2, 10, 12, minute)).toISOString();
  return { thread_id: id, title: id, status: "idle", created_at: at, updated_at: at, metadata: {}, last_run_id: null };
}

const ids = (threads: readonly Thread[]) => threads.map((each) => each.thread_id).join("");
const [a, b, c, d] = [thread("a", 50), thread("b", 40), thread("c", 30), thread("d", 20)];

describe("the list", () => {
  it("has the newest activity first, and each conversation once", () => {
    expect(ids(withThread([a, b, c], d))).toBe("abcd");
    expect(ids(withThread([a, b, c], thread("c", 59)))).toBe("cab");
  });

  it("goes on with the next page, where one that moved in between stands only once", () => {
    expect(ids(append([a, b], { threads: [c, d], next_cursor: null }))).toBe("abcd");
    expect(ids(append([a, b], { threads: [b, c], next_cursor: null }))).toBe("abc");
  });

  it("renewed keeps the older pages behind the first", () => {
    expect(ids(renew([a, b, c, d], { threads: [b, a], next_cursor: "2" }))).toBe("bacd");
  });

  it("renewed loses what was deleted elsewhere within the first page", () => {
    expect(ids(renew([a, b, c, d], { threads: [a, c], next_cursor: "2" }))).toBe("acd");
  });

  it("renewed is the first page where there is no other", () => {
    expect(ids(renew([a, b, c, d], { threads: [a], next_cursor: null }))).toBe("a");
    expect(ids(renew([a, b], { threads: [], next_cursor: null }))).toBe("");
  });
});

describe("a day", () => {
  const now = new Date(2026, 2, 10, 0, 30);

  it("is the calendar's where one looks, not 24 hours", () => {
    expect(periodOf(new Date(2026, 2, 10, 0, 0), now)).toBe("today");
    expect(periodOf(new Date(2026, 2, 9, 23, 59), now)).toBe("yesterday");
    expect(periodOf(new Date(2026, 2, 8, 23, 59), now)).toBe("week");
    expect(periodOf(new Date(2026, 2, 2, 23, 59), now)).toBe("earlier");
  });

  it("groups the list without changing its order", () => {
    const early = { ...a, updated_at: new Date(2026, 2, 10, 0, 10).toISOString() };
    const late = { ...b, updated_at: new Date(2026, 2, 9, 22, 0).toISOString() };
    const groups = groupByPeriod([early, late], now);
    expect(groups.map((group) => `${group.period} ${ids(group.threads)}`)).toEqual(["today a", "yesterday b"]);
  });
});
