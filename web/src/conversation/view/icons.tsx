/** The conversation's icons, in the manner of `theme/icons.tsx`: strokes on a grid of 24, without words. */

function Drawing({ path, isFilled = false }: { path: string; isFilled?: boolean }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={path} fill={isFilled ? "currentColor" : "none"} />
    </svg>
  );
}

export const Send = () => <Drawing path="M12 19V5M5.5 11.500L12 5l6.5 6.5" />;
export const Stop = () => <Drawing path="M7.5 7.500h9v9h-9z" isFilled />;
export const Copy = () => <Drawing path="M9 9h11v11H9zM5 15H4V4h11v1" />;
export const Check = () => <Drawing path="M5 12.500l4.5 4.500L19 7.5" />;
export const Again = () => <Drawing path="M4 5v5h5M4.6 10a8 8 0 1 1-.4 4" />;
export const Left = () => <Drawing path="M14.5 6l-6 6 6 6" />;
export const Right = () => <Drawing path="M9.5 6l6 6-6 6" />;
export const Down = () => <Drawing path="M12 5v14M5.5 12.500L12 19l6.5-6.5" />;
export const Chevron = () => <Drawing path="M6 9.500l6 6 6-6" />;
export const Tool = () => (
  <Drawing path="M14.5 6.500a4 4 0 0 1 5-3L17 6l1 1 2.5-2.500a4 4 0 0 1-5 5L8 17a2 2 0 0 1-3-3l7-7.5" />
);
export const Cross = () => <Drawing path="M7 7l10 10M17 7L7 17" />;
export const Hand = () => (
  <Drawing path="M8 13V6.500a1.5 1.5 0 0 1 3 0V11V5a1.5 1.5 0 0 1 3 0v6V6.500a1.5 1.5 0 0 1 3 0V15a6 6 0 0 1-6 6c-2.5 0-4-1-5-3l-2-4a1.5 1.5 0 0 1 2.5-1.500L8 14" />
);
export const Dash = () => <Drawing path="M6 12h12" />;
