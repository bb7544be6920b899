/** Copies a text, and says so for a moment. */
import { useEffect, useState } from "react";
import { useTexts } from "../../i18n";
import { IconButton, toast } from "../../theme";
import { Check, Copy } from "./icons";

export function CopyButton({ text, label }: { text: string; label: string }) {
  const texts = useTexts().conversation;
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setCopied(false), 1500);
    return () => clearTimeout(timer);
  }, [isCopied]);

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
    } catch {
      toast({ text: texts.copyFailed });
    }
  }
  return (
    <>
      <IconButton icon={isCopied ? <Check /> : <Copy />} label={label} onClick={() => void copy()} />
      <span className="visually-hidden" role="status">
        {isCopied ? texts.copied : ""}
      </span>
    </>
  );
}
