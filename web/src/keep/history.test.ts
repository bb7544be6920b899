import { describe, expect, it } from "vitest";

import { byMinute, latest, levels, means, rates, type Sample, SPAN, withSample } from "./history";
import { snapshot } from "./samples";

function sample(at: number, stats: Parameters<typeof snapshot>[0], more?: Parameters<typeof snapshot>[1]): Sample {
  return { at, snapshot: snapshot(stats, more) };
}

const gather = (...samples: Sample[]) => samples.reduce(withSample, [] as readonly Sample[]);

describe("the history", () => {
  it("goes back ten minutes", () => {
    let history: readonly Sample[] = [];
    for (let at = 0; at <= 2 * SPAN; at += 10) history = withSample(history, sample(at, { acquired: at }));
    expect(history[0]?.at).toBe(SPAN + 10);
    expect(history).toHaveLength(SPAN / 10);
  });

  it("begins anew with another server, whose counters begin anew", () => {
    expect(gather(sample(1, { acquired: 50 }), sample(2, { acquired: 3 })).map((each) => each.at)).toEqual([2]);
  });

  it("takes nothing from before its end: a clock was set back", () => {
    expect(gather(sample(5, {}), sample(4, {}), sample(6, {})).map((each) => each.at)).toEqual([5, 6]);
  });
});

describe("curves", () => {
  it("of counters are rates per second", () => {
    const history = gather(sample(10, { hits: 4 }), sample(12, { hits: 10 }), sample(13, { hits: 10 }));
    expect(rates(history, ["hits"])).toEqual({ times: [12, 13], values: [[3, 0]] });
  });

  it("of gauges are as they were", () => {
    const history = gather(sample(10, { live: 4 }), sample(11, { live: 5 }));
    expect(levels(history, ["live", "idle"])).toEqual({ times: [11], values: [[5], [0]] });
  });

  it("have a gap where there was no connection, rather than a line through it", () => {
    const history = gather(
      sample(10, { hits: 1 }),
      sample(11, { hits: 2 }),
      sample(90, { hits: 99 }),
      sample(91, { hits: 99 }),
    );
    expect(rates(history, ["hits"]).values).toEqual([[1, null, 0]]);
  });

  it("of durations are means of what ended in between", () => {
    const timed = (at: number, count: number, seconds: number) =>
      sample(at, {}, { latency: { run: { count, seconds } } });
    const history = gather(timed(1, 2, 10), timed(2, 4, 13), timed(3, 4, 13));
    expect(means(history, ["run", "build"]).values).toEqual([
      [1.5, null],
      [null, null],
    ]);
  });

  it("as a table have a row for each minute, the latest first", () => {
    const rows = byMinute({
      times: [58, 59, 61, 62],
      values: [
        [1, 3, null, 7],
        [null, null, null, 4],
      ],
    });
    expect(rows).toEqual([
      { at: 60, values: [7, 4] },
      { at: 0, values: [2, null] },
    ]);
  });

  it("end in the latest value that is known", () => {
    expect(latest([1, 2, null])).toBe(2);
    expect(latest([null])).toBeNull();
    expect(latest(undefined)).toBeNull();
  });
});
