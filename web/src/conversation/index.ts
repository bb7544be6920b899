/** One conversation: `state` is what is known of it, `live` keeps that up to date, `view` and `markdown` show it. */
export { ConversationPage } from "./view/ConversationPage";
