/** The page: who is here decides whether it is shown, the address decides what is in it. */
import { lazy, type ReactNode, Suspense, useMemo } from "react";
import { ConversationPage } from "../conversation";
import { useTexts } from "../i18n";
import { SessionGate } from "../signin";
import { EmptyState, Spinner, Toasts } from "../theme";
import { Link } from "./link";
import { parseRoute, type Route, useLocationPath } from "./navigation";
import { Shell } from "./shell";

const KeepView = lazy(async () => ({ default: (await import("../keep")).KeepView }));
const SettingsView = lazy(async () => ({ default: (await import("../settings")).SettingsView }));

export function App() {
  const path = useLocationPath();
  const route = useMemo(() => parseRoute(path), [path]);
  return (
    <>
      <SessionGate>
        <Shell route={route}>
          <Suspense fallback={<Waiting />}>{viewOf(route)}</Suspense>
        </Shell>
      </SessionGate>
      <Toasts />
    </>
  );
}

function viewOf(route: Route): ReactNode {
  switch (route.page) {
    case "conversation":
      return <ConversationPage threadId={route.threadId} />;
    case "keep":
      return <KeepView />;
    case "settings":
      return <SettingsView />;
    case "unknown":
      return <Lost />;
  }
}

function Waiting() {
  const text = useTexts();
  return <Spinner label={text.common.loading} />;
}

function Lost() {
  const text = useTexts().navigation;
  return <EmptyState title={text.notFound} action={<Link href="/">{text.home}</Link>} />;
}
