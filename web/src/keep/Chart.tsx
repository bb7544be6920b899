/** A chart with its heading and legend, and the same figures as a table for whoever wants those. */

import { Component, lazy, type ReactNode, Suspense, useId, useState } from "react";

import { useFormats, useTexts } from "../i18n";
import { LoadingState } from "../theme";
import { byMinute, type Curves, latest } from "./history";
import styles from "./keep.module.css";
import type { Line } from "./Plot";

const Plot = lazy(() => import("./Plot"));

/** Told apart by colour, and by how they are broken. */
const LINES = [
  { colour: "--chart-1", dash: [] },
  { colour: "--chart-2", dash: [8, 4] },
  { colour: "--chart-3", dash: [2, 4] },
] as const;

interface ChartProps {
  title: string;
  about: string;
  labels: readonly string[];
  curves: Curves;
  isSparse?: boolean;
}

export function Chart({ title, about, labels, curves, isSparse = false }: ChartProps) {
  const t = useTexts().keep;
  const formats = useFormats();
  const titleId = useId();
  const [point, setPoint] = useState<number | null>(null);
  const lines: Line[] = LINES.slice(0, labels.length).map((line, at) => ({ ...line, label: labels[at] ?? "" }));
  const shown = curves.values.map((curve) => (point === null ? latest(curve) : (curve[point] ?? null)));
  const text = (value: number | null | undefined) => (value == null ? "–" : formats.number(value, 2));
  const summary = lines.map((line, at) => `${line.label} ${text(latest(curves.values[at]))}`).join(", ");

  return (
    <figure className={styles.chart} aria-labelledby={titleId}>
      <figcaption>
        <h3 id={titleId}>{title}</h3> <span className={styles.muted}>{about}</span>
      </figcaption>
      <ul className={styles.legend}>
        {lines.map((line, at) => (
          <li key={line.label}>
            <Swatch line={line} />
            {line.label} <b>{text(shown[at])}</b>
          </li>
        ))}
      </ul>
      <div className={styles.plot}>
        {curves.times.length < 2 ? (
          <p className={styles.muted}>{t.waitingForData}</p>
        ) : (
          <UnlessBroken instead={<p className={styles.muted}>{t.chartsFailed}</p>}>
            <Suspense fallback={<LoadingState />}>
              <Plot
                curves={curves}
                lines={lines}
                label={`${title}: ${summary}`}
                isSparse={isSparse}
                onPoint={setPoint}
              />
            </Suspense>
          </UnlessBroken>
        )}
      </div>
      <ChartTable title={title} labels={labels} curves={curves} text={text} />
    </figure>
  );
}

function Swatch({ line }: { line: Line }) {
  return (
    <svg className={styles.swatch} viewBox="0 0 28 8" aria-hidden="true">
      <line x1="0" y1="4" x2="28" y2="4" stroke={`var(${line.colour})`} strokeDasharray={line.dash.join(" ")} />
    </svg>
  );
}

interface ChartTableProps {
  title: string;
  labels: readonly string[];
  curves: Curves;
  text(value: number | null): string;
}

function ChartTable({ title, labels, curves, text }: ChartTableProps) {
  const t = useTexts().keep;
  const formats = useFormats();
  const [isOpen, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t.asTable}</summary>
      {isOpen && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
        <section className={styles.scroll} aria-label={t.tableOf(title)} tabIndex={0}>
          <table className={styles.table}>
            <thead>
              <tr>
                <th scope="col">{t.time}</th>
                {labels.map((label) => (
                  <th key={label} scope="col" className={styles.number}>
                    {label}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {byMinute(curves).map((row) => (
                <tr key={row.at}>
                  <th scope="row">{formats.clock(new Date(row.at * 1000))}</th>
                  {row.values.map((value, at) => (
                    <td key={labels[at]} className={styles.number}>
                      {text(value)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </details>
  );
}

/** The chart's chunk may not come: the tables still have everything. */
class UnlessBroken extends Component<{ children: ReactNode; instead: ReactNode }, { isBroken: boolean }> {
  override state = { isBroken: false };

  static getDerivedStateFromError() {
    return { isBroken: true };
  }

  override render() {
    return this.state.isBroken ? this.props.instead : this.props.children;
  }
}
