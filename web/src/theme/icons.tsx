/** The page's icons, drawn for it: strokes on a grid of 24. None of them says anything to a screen reader. */

function Drawing({ path, weight }: { path: string; weight?: number }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={path} strokeWidth={weight} />
    </svg>
  );
}

export const icons = {
  Plus: () => <Drawing path="M12 5v14M5 12h14" />,
  Search: () => <Drawing path="M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l5 5" />,
  Close: () => <Drawing path="M6 6l12 12M18 6L6 18" />,
  More: () => <Drawing path="M5 12h.01M12 12h.01M19 12h.01" weight={3} />,
  Edit: () => <Drawing path="M4 20h4L19 9l-4-4L4 16zM13 7l4 4" />,
  Trash: () => <Drawing path="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5" />,
  Download: () => <Drawing path="M12 4v11M7 11l5 5 5-5M5 20h14" />,
  Menu: () => <Drawing path="M4 7h16M4 12h16M4 17h16" />,
  Warning: () => <Drawing path="M12 4L2.5 20h19zM12 10v4M12 17h.01" />,
  Info: () => <Drawing path="M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 8h.01" />,
  Offline: () => (
    <Drawing path="M3 3l18 18M8.5 15.5a5 5 0 0 1 7 0M5 12a10 10 0 0 1 4-2.4M19 12a10 10 0 0 0-6-2.9M12 19h.01" />
  ),
  Settings: () => (
    <Drawing path="M4 7h9M17 7h3M4 17h3M11 17h9M15 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM9 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4z" />
  ),
  Keep: () => <Drawing path="M5 21V8L4 4h4v2h3V4h2v2h3V4h4l-1 4v13zM10 21v-5a2 2 0 0 1 4 0v5M5 10h14" />,
  Chat: () => <Drawing path="M4 5h16v11H10l-5 4v-4H4z" />,
  Key: () => <Drawing path="M8 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 12h9M18 12v4" />,
  Pause: () => <Drawing path="M8 5v14M16 5v14" />,
  Play: () => <Drawing path="M7 5l12 7-12 7z" />,
  SignOut: () => <Drawing path="M10 4H5v16h5M14 8l4 4-4 4M18 12H9" />,
};
