/** Every instance of the cache: a table that can be sorted, on a phone a card for each. */

import { useState } from "react";

import type { CacheInstance } from "../api/types";
import { type Formats, type Texts, useFormats, useTexts } from "../i18n";
import { EmptyState, icons, useIsPhone } from "../theme";
import { type Column, columnsFor, isNumber, modelsAmong, type Order, reordered, sorted, stateOf } from "./instances";
import styles from "./keep.module.css";

const FIRST_ORDER: Order = { column: "age", isDescending: false };

export function Instances({ instances }: { instances: readonly CacheInstance[] }) {
  const t = useTexts().keep;
  const [isAll, setAll] = useState(false);
  return (
    <>
      <label className={styles.filter}>
        <input type="checkbox" checked={isAll} onChange={(event) => setAll(event.target.checked)} />
        {t.showAll}
      </label>
      <Rows instances={isAll ? instances : modelsAmong(instances)} />
    </>
  );
}

function Rows({ instances }: { instances: readonly CacheInstance[] }) {
  const t = useTexts().keep;
  const isPhone = useIsPhone();
  const [order, setOrder] = useState(FIRST_ORDER);
  if (instances.length === 0) {
    return (
      <EmptyState title={t.emptyTitle} icon={<icons.Keep />}>
        {t.empty}
      </EmptyState>
    );
  }
  const rows = sorted(instances, order);
  if (isPhone) return <Cards rows={rows} />;
  return <Table rows={rows} order={order} onOrder={(column) => setOrder(reordered(order, column))} />;
}

interface TableProps {
  rows: readonly CacheInstance[];
  order: Order;
  onOrder(column: Column): void;
}

function Table({ rows, order, onOrder }: TableProps) {
  const t = useTexts().keep;
  const columns = columnsFor(rows);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section className={styles.scroll} aria-label={t.tableOf(t.instances)} tabIndex={0}>
      <table className={styles.table}>
        <thead>
          <tr>
            {columns.map((column) => (
              <th
                key={column}
                scope="col"
                className={isNumber(column) ? styles.number : undefined}
                aria-sort={ariaSort(column, order)}
              >
                <button type="button" className={styles.sort} onClick={() => onOrder(column)}>
                  {t.columns[column]}
                  <span aria-hidden="true">{arrow(column, order)}</span>
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((instance) => (
            <tr key={instance.id}>
              {columns.map((column) => (
                <td key={column} className={isNumber(column) ? styles.number : undefined}>
                  <Cell instance={instance} column={column} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function ariaSort(column: Column, order: Order): "ascending" | "descending" | undefined {
  if (column !== order.column) return undefined;
  return order.isDescending ? "descending" : "ascending";
}

function arrow(column: Column, order: Order): string {
  if (column !== order.column) return "";
  return order.isDescending ? " ↓" : " ↑";
}

function Cards({ rows }: { rows: readonly CacheInstance[] }) {
  const t = useTexts().keep;
  return (
    <ul className={styles.cards} aria-label={t.instances}>
      {rows.map((instance) => (
        <li key={instance.id} className={styles.card}>
          <h3>{instance.label || t.unnamed}</h3>
          <dl>
            {columnsFor(rows)
              .filter((column) => column !== "label")
              .map((column) => (
                <div key={column}>
                  <dt>{t.columns[column]}</dt>
                  <dd>
                    <Cell instance={instance} column={column} />
                  </dd>
                </div>
              ))}
          </dl>
        </li>
      ))}
    </ul>
  );
}

function Cell({ instance, column }: { instance: CacheInstance; column: Column }) {
  const t = useTexts().keep;
  const formats = useFormats();
  if (column === "state") {
    const state = stateOf(instance);
    return (
      <span className={styles.state} data-state={state}>
        {stateText(state, t)}
      </span>
    );
  }
  return <>{cellText(instance, column, t, formats)}</>;
}

function stateText(state: string, t: Texts["keep"]): string {
  if (state === "inUse") return t.inUse;
  // A state this page does not know yet is shown as the server calls it.
  return state in t.states ? t.states[state as keyof typeof t.states] : state;
}

function cellText(instance: CacheInstance, column: Column, t: Texts["keep"], formats: Formats): string {
  switch (column) {
    case "label":
      return instance.label || t.unnamed;
    case "age":
      return formats.duration(instance.age);
    case "idle":
      return instance.leases > 0 ? "–" : formats.duration(instance.idle);
    case "weight":
      return formats.number(instance.weight, 2);
    case "leases":
    case "builds":
      return formats.number(instance[column]);
    default:
      return instance[column];
  }
}
