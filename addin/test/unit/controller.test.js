import assert from "node:assert/strict";
import { test } from "node:test";

import { parseStatus } from "../../src/api/status.js";
import { createController } from "../../src/state/controller.js";
import { statusAnswer } from "../server/fake-api.js";

function rig(work) {
  const pending = new Map();
  let id = 0;
  const timers = {
    set(run, ms) {
      id += 1;
      pending.set(id, { run, ms });
      return id;
    },
    clear: (timer) => pending.delete(timer),
  };
  const shown = [];
  const controller = createController({ work, show: ({ view }) => shown.push(view), timers });
  return {
    controller,
    shown,
    delays: () => [...pending.values()].map(({ ms }) => ms),
    async fire() {
      const [[timer, { run }]] = pending;
      pending.delete(timer);
      await run();
    },
  };
}

const status = (state) => ({ type: "status", status: parseStatus(statusAnswer(state)) });

test("work runs when it is due, and its answer is shown", async () => {
  const answers = [status("Pending"), status("Subscribed")];
  const look = async () => answers.shift();
  const { controller, shown, fire, delays } = rig({ load: look, poll: look });
  controller.start();
  assert.deepEqual(delays(), [0]);
  await fire();
  assert.deepEqual(delays(), [1_000]);
  await fire();
  assert.deepEqual([shown, delays()], [["loading", "progress", "subscribed"], []]);
});

test("work that is overtaken is told so, and its answer is dropped", async () => {
  let settle;
  let told;
  const load = (_, signal) => {
    told = signal;
    return new Promise((resolve) => (settle = resolve));
  };
  const { controller, fire } = rig({ load });
  controller.start();
  const running = fire();
  controller.send({ type: "failed" });
  assert.equal(told.aborted, true);
  settle(status("Subscribed"));
  await running;
  assert.equal(controller.state().view, "failed");
});

test("a mistake in the work ends in failed, not in silence", async () => {
  const { controller, fire } = rig({
    load: async () => {
      throw new Error("broken");
    },
  });
  controller.start();
  await fire();
  assert.deepEqual([controller.state().view, controller.state().reason], ["failed", "broken"]);
});

test("a sign-in that is needed waits for the person", async () => {
  const seen = [];
  const load = async (state) => {
    seen.push(state.interactive);
    return seen.length === 1 ? { type: "signInNeeded", reason: "interaction" } : status("Asked");
  };
  const { controller, fire, delays } = rig({ load });
  controller.start();
  await fire();
  assert.deepEqual(delays(), []);
  controller.send({ type: "signIn" });
  await fire();
  assert.deepEqual([controller.state().view, seen], ["asked", [false, true]]);
});
