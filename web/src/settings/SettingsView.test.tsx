import { render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { type Answers, fakeServer, json, problem } from "../signin/fakeServer";
import { loadSession, resetSession } from "../signin/session";
import { preferences, setPreference } from "./preferences";
import { SettingsView } from "./SettingsView";

const MODELS = [
  { id: "openai:gpt-5-mini", provider: "openai", name: "gpt-5-mini", default: true, demonstration: false },
  { id: "local:small", provider: "local", name: "small", default: false, demonstration: true },
];

async function open(answers: Answers = {}, signIn = "none") {
  fakeServer({
    "GET /api/config": () => json({ version: "1.2", protocol: "1.0", sign_in: signIn }),
    "GET /api/me": () =>
      json({ user: "ada", administrator: false, limits: { tokens_per_day: 2000 }, tokens_today: 1234 }),
    "GET /api/models": () => json({ models: MODELS }),
    ...answers,
  });
  await loadSession();
  render(<SettingsView />);
}

beforeEach(resetSession);

afterEach(() => {
  setPreference("model", null);
  setPreference("language", null);
});

const models = async () => within(await screen.findByRole("group", { name: "Model" }));

describe("the settings", () => {
  it("offer the server's models, and say what a demonstration model is", async () => {
    await open();
    const choice = await models();
    expect(choice.getByRole("radio", { name: "The server's choice (gpt-5-mini)" })).toBeChecked();
    expect(screen.queryByText(/knows little/)).toBeNull();

    await userEvent.click(choice.getByRole("radio", { name: /small.*demonstration model/ }));

    expect(preferences().model).toBe("local:small");
    expect(screen.getByText(/knows little/)).toBeVisible();
  });

  it("take back the choice of a model that is gone, and say so", async () => {
    setPreference("model", "openai:gone");
    await open();

    expect(await screen.findByText(/openai:gone is no longer offered/)).toBeVisible();
    expect((await models()).getByRole("radio", { name: /The server's choice/ })).toBeChecked();
    expect(preferences().model).toBeNull();
  });

  it("say that the models could not be loaded, and ask again", async () => {
    await open({ "GET /api/models": () => problem(503, "draining", "The server is ending.") });
    expect(await screen.findByRole("alert")).toHaveTextContent("The server is ending.");

    fakeServer({ "GET /api/models": () => json({ models: MODELS }) });
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));

    expect((await models()).getAllByRole("radio")).toHaveLength(3);
  });

  it("speak the language that is chosen at once", async () => {
    await open();
    await userEvent.click(screen.getByRole("radio", { name: "中文" }));
    expect(screen.getByRole("heading", { level: 1 })).toHaveTextContent("设置");
  });

  it("tell who is signed in and what of the limits is used", async () => {
    await open({}, "token");
    expect(screen.getByText("ada")).toBeVisible();
    expect(screen.getByText("1,234 of 2,000")).toBeVisible();
    expect(screen.getAllByText("unlimited")).toHaveLength(3);
    expect(screen.getByRole("button", { name: "Sign out" })).toBeVisible();
  });

  it("have no way to sign out where nobody signed in here", async () => {
    await open({}, "proxy");
    expect(screen.queryByRole("button", { name: "Sign out" })).toBeNull();
  });
});
