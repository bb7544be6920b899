/** Tells screen readers how the answer goes: that it is being written, and, when it is there, what it says. */
import { useEffect, useRef, useState } from "react";
import { useTexts } from "../../i18n";
import { useSnapshot } from "./runtime";

/** More than this many characters are not read out by themselves: the message is there to be read. */
const LIMIT = 1500;

export function Announcer() {
  const text = useTexts().conversation;
  const isRunning = useSnapshot((snapshot) => snapshot.view.live !== null);
  const isWaiting = useSnapshot((snapshot) => snapshot.view.waiting !== null);
  const answer = useSnapshot((snapshot) => {
    const last = snapshot.view.turns.at(-1);
    return snapshot.view.live === null && last?.role === "assistant" ? last.text : "";
  });
  const [words, setWords] = useState("");
  const wasRunning = useRef(false);

  useEffect(() => {
    if (isRunning) setWords(text.answering);
    else if (wasRunning.current) setWords(isWaiting ? text.waitingForYou : answer.slice(0, LIMIT));
    wasRunning.current = isRunning;
  }, [isRunning, isWaiting, answer, text]);

  return (
    <div className="visually-hidden" aria-live="polite">
      {words}
    </div>
  );
}
