import { expect, it } from "vitest";

import { columnsFor, modelsAmong, reordered, sorted, stateOf } from "./instances";
import { instance } from "./samples";

const rows = [
  instance({ id: "1", label: "b", age: 5 }),
  instance({ id: "2", label: "a", age: 50 }),
  instance({ id: "3", label: "b", age: 9 }),
];
const order = (column: "label" | "age", isDescending: boolean) =>
  sorted(rows, { column, isDescending })
    .map((each) => each.id)
    .join("");

it("rows are sorted by a column either way, and ties keep their order from second to second", () => {
  expect(order("label", false)).toBe("213");
  expect(order("age", true)).toBe("231");
  expect(
    sorted(rows.toReversed(), { column: "label", isDescending: false })
      .map((each) => each.id)
      .join(""),
  ).toBe("213");
});

it("a click sorts figures from the greatest, text from A, and a second one the other way", () => {
  const byAge = reordered({ column: "label", isDescending: false }, "age");
  expect(byAge).toEqual({ column: "age", isDescending: true });
  expect(reordered(byAge, "age")).toEqual({ column: "age", isDescending: false });
  expect(reordered(byAge, "label")).toEqual({ column: "label", isDescending: false });
});

it("an instance that is leased is in use; one that is retired is that first of all", () => {
  expect(stateOf(instance({ leases: 2 }))).toBe("inUse");
  expect(stateOf(instance({ leases: 0 }))).toBe("ready");
  expect(stateOf(instance({ state: "retired", leases: 1 }))).toBe("retired");
});

it("models are told from what is kept to work with them", () => {
  const all = ["models (process)", "models (loop)", "model configurations", "turns"].map((cache) =>
    instance({ cache }),
  );
  expect(modelsAmong(all).map((each) => each.cache)).toEqual(["models (process)", "models (loop)"]);
});

it("the cache is worth a column where there are several", () => {
  expect(columnsFor(rows)).not.toContain("cache");
  expect(columnsFor([...rows, instance({ cache: "other" })])).toContain("cache");
});
