// An unmodified HttpAgent of @ag-ui/client, driven from outside by lines of JSON.
//
//   node remote.mjs FOLDER      FOLDER has node_modules with the version that is wanted
//
// Where the folder has CopilotKit's core, too, that runs the agent, as it does in its pages.
//
// Standard input takes commands, {"agent": NAME, "do": ..., ...}; standard output tells what the
// agent told its subscribers, {"agent": NAME, "told": ..., ...}. Nothing is decided here.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const manifest = join(resolve(process.argv[2]), "package.json");
const require = createRequire(manifest);
const { HttpAgent } = require("@ag-ui/client");
const copilot = "@copilotkit/core" in require(manifest).dependencies;

const agents = new Map();

function tell(agent, told, more = {}) {
  process.stdout.write(`${JSON.stringify({ agent, told, ...more })}\n`);
}

function subscriber(name) {
  return {
    onEvent: ({ event }) => tell(name, "event", { event }),
    onRunFinishedEvent: ({ outcome, interrupts }) => tell(name, "finished", { outcome, interrupts }),
    onRunErrorEvent: ({ event }) => tell(name, "error", { event }),
    onRunFailed: ({ error }) => tell(name, "failed", { error: error.message }),
    onToolCallEndEvent: ({ event, toolCallName, toolCallArgs }) =>
      tell(name, "call", { id: event.toolCallId, name: toolCallName, args: toolCallArgs }),
  };
}

// What runs and stops an agent: its own methods, or CopilotKit's.
function runner(agent, tools) {
  if (!copilot) {
    return { run: (...how) => agent.runAgent(...how), stop: () => agent.abortRun() };
  }
  const { CopilotKitCore } = require("@copilotkit/core");
  const core = new CopilotKitCore({ agents__unsafe_dev_only: { default: agent } });
  if (tools) {
    core.addTool({ name: "paint", description: "Paint the page.", handler: () => "painted" });
  }
  return {
    run: (_, subscriber) => {
      const { unsubscribe } = agent.subscribe(subscriber);
      return core.runAgent({ agent }).finally(unsubscribe);
    },
    stop: () => core.stopAgent({ agent }),
  };
}

const commands = {
  create({ agent, url, threadId, messages = [], headers = {}, tools = false }) {
    const made = new HttpAgent({ url, threadId, initialMessages: messages, headers });
    agents.set(agent, Object.assign(made, { runner: runner(made, tools) }));
  },
  say({ agent, id, content }) {
    agents.get(agent).addMessage({ id, role: "user", content });
  },
  run({ agent, parameters = {} }) {
    agents
      .get(agent)
      .runner.run(parameters, subscriber(agent))
      .then(
        ({ newMessages }) => tell(agent, "settled", { newMessages }),
        (error) => tell(agent, "settled", { error: error.message }),
      );
  },
  abort({ agent }) {
    agents.get(agent).runner.stop();
  },
  detach({ agent }) {
    agents.get(agent).detachActiveRun();
  },
  look({ agent }) {
    const { messages, isRunning, pendingInterrupts } = agents.get(agent);
    tell(agent, "look", { messages, isRunning, pendingInterrupts });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    commands[command.do](command);
  } catch (error) {
    tell(command.agent, "settled", { error: error.message });
  }
}
process.exit(0);
