/** Prints what the first visit loads, gzipped, and fails above the limit. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 350;
const root = new URL("../../src/llmkeep/service/static/", import.meta.url).pathname;
const html = readFileSync(join(root, "index.html"), "utf8");
// Scripts, style sheets and preloads that index.html names are what a first visit fetches before it can show anything.
const first = [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map((match) => match[1]);

let total = gzipSync(html).length;
for (const path of new Set(first)) {
  const size = gzipSync(readFileSync(join(root, path))).length;
  total += size;
  console.log(`${(size / 1000).toFixed(1).padStart(8)} kB  ${path}`);
}
console.log(`${(total / 1000).toFixed(1).padStart(8)} kB  first load, gzip (limit ${LIMIT_KB} kB)`);
process.exitCode = total / 1000 > LIMIT_KB ? 1 : 0;
