/** What the views are made of. The style sheets are `theme.css` and `base.css`. */

export { Button, EmptyState, ErrorState, IconButton, LoadingState, Spinner } from "./controls";
export { Dialog } from "./Dialog";
export { icons } from "./icons";
export { Menu, type MenuItem, moved } from "./Menu";
export { Toasts } from "./Toasts";
export { dismiss, toast } from "./toasts";
export { useIsPhone, useMediaQuery } from "./useMediaQuery";
