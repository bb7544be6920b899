/** Colours for code. A chunk of its own, loaded with the first block of code that names its language. */
import { toJsxRuntime } from "hast-util-to-jsx-runtime";
import { common, createLowlight } from "lowlight";
import type { ReactNode } from "react";
import { Fragment, jsx, jsxs } from "react/jsx-runtime";

const lowlight = createLowlight(common);

/** Beyond this many characters colours cost more than they help. */
const LIMIT = 60_000;

/** Null for a language that is not known. */
export function highlight(source: string, language: string): ReactNode {
  const name = language.toLowerCase();
  if (source.length > LIMIT || !lowlight.registered(name)) return null;
  return toJsxRuntime(lowlight.highlight(name, source), { Fragment, jsx, jsxs });
}
