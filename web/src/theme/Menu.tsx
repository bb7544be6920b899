/** A button that opens a menu: arrow keys move, Escape closes, a choice gives the focus back. */

import { type KeyboardEvent, type ReactNode, useId, useRef, useState } from "react";

import { icons } from "./icons";

export interface MenuItem {
  readonly label: string;
  readonly icon: ReactNode;
  readonly isDangerous?: boolean;
  /** May move the focus elsewhere. */
  run(): void;
}

interface MenuProps {
  label: string;
  items: readonly MenuItem[];
  icon?: ReactNode;
  className?: string;
  tabIndex?: number;
}

const GAP = 4;

export function Menu({ label, items, icon = <icons.More />, className = "", tabIndex = 0 }: MenuProps) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const popover = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);

  function open() {
    if (!button.current || !popover.current) return;
    popover.current.showPopover();
    place(popover.current, button.current.getBoundingClientRect());
    entries(popover.current)[0]?.focus();
  }

  function close() {
    popover.current?.hidePopover();
    button.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent<HTMLDivElement>) {
    event.stopPropagation();
    const all = entries(event.currentTarget);
    const next = moved(event.key, all.indexOf(document.activeElement as HTMLElement), all.length);
    if (next !== null) {
      event.preventDefault();
      all[next]?.focus();
    } else if (event.key === "Escape" || event.key === "Tab") {
      event.preventDefault();
      close();
    }
  }

  return (
    <>
      <button
        ref={button}
        type="button"
        className={`button button-quiet button-icon ${className}`}
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        aria-controls={id}
        tabIndex={tabIndex}
        onClick={() => (isOpen ? close() : open())}
      >
        {icon}
      </button>
      <div
        ref={popover}
        id={id}
        className="menu"
        role="menu"
        aria-label={label}
        tabIndex={-1}
        popover="auto"
        onToggle={(event) => setOpen(event.newState === "open")}
        onKeyDown={onKeyDown}
      >
        {items.map((item) => (
          <button
            key={item.label}
            type="button"
            role="menuitem"
            tabIndex={-1}
            className={item.isDangerous ? "menu-item menu-item-danger" : "menu-item"}
            onClick={() => {
              close();
              item.run();
            }}
          >
            {item.icon}
            {item.label}
          </button>
        ))}
      </div>
    </>
  );
}

function entries(menu: HTMLElement): HTMLElement[] {
  return [...menu.querySelectorAll<HTMLElement>('[role="menuitem"]')];
}

/** Where a key leads in a list of `length`, from `at` (-1: nowhere yet); null: it leads nowhere. */
export function moved(key: string, at: number, length: number): number | null {
  if (length === 0) return null;
  switch (key) {
    case "ArrowDown":
      return Math.min(at + 1, length - 1);
    case "ArrowUp":
      return at <= 0 ? 0 : at - 1;
    case "Home":
      return 0;
    case "End":
      return length - 1;
    default:
      return null;
  }
}

/** Under the button, or over it where there is no room, and inside of the window. */
function place(menu: HTMLElement, button: DOMRect): void {
  const { width, height } = menu.getBoundingClientRect();
  const fitsBelow = button.bottom + GAP + height <= window.innerHeight;
  const top = fitsBelow ? button.bottom + GAP : Math.max(GAP, button.top - GAP - height);
  const left = Math.min(button.right - width, window.innerWidth - width - 2 * GAP);
  menu.style.top = `${top}px`;
  menu.style.left = `${Math.max(2 * GAP, left)}px`;
}
