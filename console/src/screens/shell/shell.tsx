/** The frame of every screen: navigation, the environment, the banner while the service is away, and the sign-in page when a key is needed. */
import { Link, Outlet, useSearch } from "@tanstack/react-router";
import { type JSX, useEffect, useRef } from "react";
import { useIsAway } from "../../api/connection.js";
import { DEFAULT_ENVIRONMENT, EnvironmentProvider } from "../../api/environment.js";
import { logOut, useSession } from "../../api/session.js";
import { queryClient } from "../../api/query-client.js";
import { Button } from "../../ui/button.js";
import { Icon, type IconName } from "../../ui/icons.js";
import { Toasts } from "../../ui/toast.js";
import { EnvironmentMenu } from "./environment-menu.js";
import { SignIn, SignInAgain } from "./sign-in.js";
import { ThemeMenu } from "./theme-menu.js";

const SCREENS = [
  ["/buckets", "Buckets", "bucket"],
  ["/live", "Live", "live"],
  ["/status", "Status", "status"],
  ["/api-keys", "API keys", "key"],
] as const satisfies readonly (readonly [to: string, name: string, icon: IconName])[];

export function Shell(): JSX.Element {
  const { env = DEFAULT_ENVIRONMENT } = useSearch({ from: "__root__" });
  const { apiKey, refusal } = useSession();
  const isAway = useIsAway();
  // Another key may see other data.
  const known = useRef(apiKey);
  useEffect(() => {
    if (known.current !== apiKey) void queryClient.resetQueries();
    known.current = apiKey;
  }, [apiKey]);
  if (refusal !== undefined && apiKey === "") {
    return (
      <>
        <SignIn />
        <Toasts />
      </>
    );
  }
  return (
    <EnvironmentProvider environment={env}>
      {refusal !== undefined && <SignInAgain />}
      <div className="shell">
        <a className="skip-link" href="#main">
          Skip to the content
        </a>
        <nav className="sidebar" aria-label="Console">
          <Link to="/buckets" className="brand">
            <img src="/favicon.svg" alt="" width="24" height="24" />
            <span>ironflow-kv</span>
          </Link>
          <EnvironmentMenu />
          <ul className="nav">
            {SCREENS.map(([to, name, icon]) => (
              <li key={to}>
                <Link to={to} className="nav-link">
                  <Icon name={icon} />
                  <span>{name}</span>
                </Link>
              </li>
            ))}
            <li>
              <a className="nav-link" href="/docs">
                <Icon name="docs" />
                <span>API reference</span>
              </a>
            </li>
          </ul>
          <div className="sidebar-end">
            <ThemeMenu />
            {apiKey !== "" && (
              <Button variant="quiet" icon="logout" className="nav-button" onPress={logOut}>
                Log out
              </Button>
            )}
          </div>
        </nav>
        <div className="content">
          {isAway && (
            <p className="away" role="alert">
              <Icon name="warning" />
              The service can't be reached. What you see may be out of date; the console reconnects by itself.
            </p>
          )}
          <main id="main" className={isAway ? "main is-away" : "main"} tabIndex={-1}>
            <Outlet key={env} />
          </main>
        </div>
        <Toasts />
      </div>
    </EnvironmentProvider>
  );
}
