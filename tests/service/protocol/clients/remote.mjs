// An unmodified HttpAgent of @ag-ui/client, driven from outside by lines of JSON.
//
//   node remote.mjs FOLDER      FOLDER has node_modules with the version that is wanted
//
// Standard input takes commands, {"agent": NAME, "do": ..., ...}; standard output tells what the
// agent told its subscribers, {"agent": NAME, "told": ..., ...}. Nothing is decided here.

import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(resolve(process.argv[2]), "package.json"));
const { HttpAgent } = require("@ag-ui/client");

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

const commands = {
  create({ agent, url, threadId, messages = [], headers = {} }) {
    agents.set(agent, new HttpAgent({ url, threadId, initialMessages: messages, headers }));
  },
  say({ agent, id, content }) {
    agents.get(agent).addMessage({ id, role: "user", content });
  },
  run({ agent, parameters = {} }) {
    agents
      .get(agent)
      .runAgent(parameters, subscriber(agent))
      .then(
        ({ newMessages }) => tell(agent, "settled", { newMessages }),
        (error) => tell(agent, "settled", { error: error.message }),
      );
  },
  abort({ agent }) {
    agents.get(agent).abortRun();
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
