/** The live view of the cache. */

export { KeepView } from "./KeepView";
