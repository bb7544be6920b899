/** One conversation. */
export function ConversationPage(_: { threadId: string | null }) {
  return null;
}
