/** The service as the page sees it: what its routes answer, and its streams. Requests are in `signin/http.ts`. */
export { readEvents } from "./stream";
export type * from "./types";
