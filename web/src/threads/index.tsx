/** The conversations: their list, and a store that the conversation's own stream keeps up to date. */

export { threadStore, useThread } from "./store";
export { ThreadList } from "./ThreadList";
