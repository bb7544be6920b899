/** A chart on uPlot, in a chunk of its own that is loaded when the keep is first looked at. */

import { useEffect, useRef } from "react";
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import { type Formats, useFormats } from "../i18n";
import { usePreferences } from "../settings/preferences";
import { useMediaQuery } from "../theme";
import type { Curves } from "./history";

/** Pixels. */
const HEIGHT = 180;

/** Seconds: at first the curves grow from the right. */
const SHORTEST = 60;

export interface Line {
  readonly label: string;
  /** A custom property of the theme. */
  readonly colour: string;
  /** Lengths of strokes and gaps; empty: an unbroken line. */
  readonly dash: readonly number[];
}

export interface PlotProps {
  curves: Curves;
  lines: readonly Line[];
  /** What the picture says, for who does not see it. */
  label: string;
  /** Joined over gaps and with its points shown: for what is known only now and then. */
  isSparse?: boolean;
  /** The point under the pointer; null: none. */
  onPoint(at: number | null): void;
}

export default function Plot({ curves, lines, label, isSparse = false, onPoint }: PlotProps) {
  const formats = useFormats();
  const { theme } = usePreferences();
  const isSystemDark = useMediaQuery("(prefers-color-scheme: dark)");
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | null>(null);
  const onPointNow = useRef(onPoint);
  onPointNow.current = onPoint;

  // biome-ignore lint/correctness/useExhaustiveDependencies: lines are told apart by their labels
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const options = optionsFor(element, lines, formats, isSparse, (at) => onPointNow.current(at));
    const made = new UPlot(options, [[], ...lines.map(() => [])], element);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [formats, isSparse, lines.map((each) => each.label).join()]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new theme means new colours
  useEffect(() => {
    plot.current?.setData([curves.times, ...curves.values] as UPlot.AlignedData);
  }, [curves, formats, theme, isSystemDark]);

  return <div ref={frame} role="img" aria-label={label} />;
}

function optionsFor(
  element: HTMLElement,
  lines: readonly Line[],
  formats: Formats,
  isSparse: boolean,
  onPoint: (at: number | null) => void,
): UPlot.Options {
  const axis = {
    stroke: () => colourOf("--text-muted", element),
    grid: { stroke: () => colourOf("--border", element), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { setScale: false, x: false, y: false } },
    scales: {
      x: { range: (_self, min, max) => [Math.min(min, max - SHORTEST), max] },
      y: { range: (_self, _min, max) => [0, Math.max(1, max * 1.1)] },
    },
    axes: [
      {
        ...axis,
        // Whole minutes: that is what the labels can tell apart.
        incrs: [60, 120, 300],
        size: 28,
        values: (_self, marks) => marks.map((mark) => formats.clock(new Date(mark * 1000))),
      },
      { ...axis, size: 48, values: (_self, marks) => marks.map((mark) => formats.number(mark, 2)) },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.label,
        stroke: () => colourOf(line.colour, element),
        width: 2,
        dash: [...line.dash],
        spanGaps: isSparse,
        points: { show: isSparse, size: 6 },
      })),
    ],
    hooks: { setCursor: [(self) => onPoint(self.cursor.idx ?? null)] },
  };
}

/** A canvas knows no custom properties: ask for the colour that one comes to here. */
function colourOf(property: string, element: HTMLElement): string {
  element.style.color = `var(${property})`;
  return getComputedStyle(element).color;
}
