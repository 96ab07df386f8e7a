import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { parseStatus } from "../../src/api/status.js";
import { initial, mayWithdraw, next } from "../../src/state/machine.js";
import { isSlow, pollDelay, retryDelay } from "../../src/state/pace.js";
import { statusAnswer } from "../server/fake-api.js";

const status = (state, other) => ({ type: "status", status: parseStatus(statusAnswer(state, other)) });
const after = (...events) => events.reduce(next, initial());
const did = ({ view, work }) => [view, work?.kind ?? null];

describe("answers", () => {
  test("the page starts with a look", () => {
    assert.deepEqual(did(initial()), ["loading", "load"]);
  });

  for (const [state, view, work] of [
    ["Asked", "asked", null],
    ["NoticeOutdated", "asked", null],
    ["Withdrawn", "asked", null],
    ["Pending", "progress", "poll"],
    ["Subscribed", "subscribed", null],
    ["Paused", "paused", null],
    ["OutOfScope", "outOfScope", null],
    ["Trouble", "trouble", null],
  ]) {
    test(`${state} is shown as ${view}`, () => assert.deepEqual(did(after(status(state))), [view, work]));
  }

  test("an answer to work that was given up changes nothing", () => {
    const state = after(status("Asked"));
    assert.equal(next(state, { ...status("Subscribed"), run: state.run - 1 }), state);
    assert.equal(next(state, { ...status("Subscribed"), run: state.run }).view, "subscribed");
  });

  test("an unknown event is a mistake", () => assert.throws(() => next(initial(), { type: "nonsense" }), TypeError));
});

describe("consent", () => {
  const ticked = { type: "ticked", ticked: true };

  test("starts unticked, and does nothing without the tick", () => {
    const asked = after(status("Asked"));
    assert.equal(asked.ticked, false);
    assert.equal(next(asked, { type: "consent" }), asked);
  });

  test("is granted, then looked after until it is subscribed", () => {
    const granting = after(status("Asked"), ticked, { type: "consent" });
    assert.deepEqual(did(granting), ["granting", "grant"]);
    const granted = next(granting, { type: "granted" });
    assert.deepEqual([...did(granted), granted.work.delay], ["progress", "poll", 0]);
    const pending = next(granted, status("Pending"));
    assert.deepEqual([...did(pending), pending.work.delay], ["progress", "poll", pollDelay(1)]);
    assert.deepEqual(did(next(pending, status("Subscribed"))), ["subscribed", null]);
  });

  test("a second click does nothing", () => {
    const granting = after(status("Asked"), ticked, { type: "consent" });
    assert.equal(next(granting, { type: "consent" }), granting);
  });

  test("an outdated notice is read again, unticked", () => {
    const state = after(status("Asked"), ticked, { type: "consent" }, { type: "outdated" });
    assert.deepEqual([...did(state), state.ticked], ["loading", "load", false]);
  });

  test("a tick does not outlive the notice it was set for", () => {
    const state = after(status("Asked"), ticked, { type: "retry" }, status("Asked", { notice: { version: "2" } }));
    assert.deepEqual([state.view, state.ticked], ["asked", false]);
  });

  test("nothing is ticked elsewhere", () => {
    const state = after(status("Subscribed"));
    assert.equal(next(state, ticked), state);
  });
});

describe("withdrawal", () => {
  const may = { selfServiceWithdrawal: true };

  test("is offered only where it is allowed and a consent stands", () => {
    for (const [state, other, offered] of [
      ["Subscribed", may, true],
      ["Pending", may, true],
      ["Trouble", may, true],
      ["NoticeOutdated", may, true],
      ["Subscribed", {}, false],
      ["Asked", may, false],
      ["Withdrawn", may, false],
      ["OutOfScope", may, false],
      ["Paused", { ...may, consent: statusAnswer("Subscribed").consent }, true],
    ]) {
      assert.equal(mayWithdraw(after(status(state, other))), offered, state);
    }
  });

  test("is asked once more, and can be left", () => {
    const asked = after(status("Subscribed", may), { type: "withdrawAsked" });
    assert.equal(asked.confirming, true);
    assert.equal(next(asked, { type: "withdrawLeft" }).confirming, false);
    const withdrawing = next(asked, { type: "withdraw" });
    assert.deepEqual(did(withdrawing), ["withdrawing", "withdraw"]);
    assert.deepEqual(did(next(withdrawing, { type: "withdrawn" })), ["loading", "load"]);
    assert.deepEqual(did(next(withdrawing, { type: "notAllowed" })), ["loading", "load"]);
  });

  test("does nothing without the question, or where it is not allowed", () => {
    const state = after(status("Subscribed", may));
    assert.equal(next(state, { type: "withdraw" }), state);
    const not = after(status("Subscribed"));
    assert.equal(next(not, { type: "withdrawAsked" }), not);
  });

  test("the question survives a look at progress, and no other change", () => {
    const asked = after(status("Pending", may), { type: "withdrawAsked" });
    assert.equal(next(asked, status("Pending", may)).confirming, true);
    assert.equal(next(asked, status("Subscribed", may)).confirming, false);
  });
});

describe("trouble on the way", () => {
  const unreachable = { type: "unreachable", after: 0 };

  test("offline repeats what was tried, later each time, and at once when asked", () => {
    let state = after(status("Asked"), { type: "ticked", ticked: true }, { type: "consent" });
    const delays = [];
    for (let tries = 0; tries < 6; tries += 1) {
      state = next(state, unreachable);
      assert.deepEqual(did(state), ["offline", "grant"]);
      delays.push(state.work.delay);
    }
    assert.deepEqual(delays, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
    state = next(state, { type: "retry" });
    assert.deepEqual([...did(state), state.work.delay], ["offline", "grant", 0]);
    assert.deepEqual(did(next(state, { type: "granted" })), ["progress", "poll"]);
  });

  test("the server's wish to wait is kept", () => {
    assert.equal(after({ type: "unreachable", after: 90_000 }).work.delay, 90_000);
    assert.equal(after({ type: "unreachable", after: 1 }).work.delay, retryDelay(0));
  });

  test("failures are forgotten with an answer", () => {
    assert.equal(after(unreachable, unreachable, status("Asked")).failures, 0);
  });

  test("a sign-in goes on with what was tried, and only then opens a window", () => {
    const asked = after(status("Asked"), { type: "ticked", ticked: true }, { type: "consent" }, {
      type: "signInNeeded",
      reason: "interaction",
    });
    assert.deepEqual([asked.view, asked.reason, asked.interactive], ["signIn", "interaction", false]);
    const state = next(asked, { type: "signIn" });
    assert.deepEqual([...did(state), state.interactive], ["loading", "grant", true]);
    assert.equal(next(state, status("Asked")).interactive, false);
  });

  test("refused and failed rest until the person tries again", () => {
    for (const type of ["refused", "failed"]) {
      const state = after({ type });
      assert.deepEqual(did(state), [type, null]);
      assert.deepEqual(did(next(state, { type: "retry" })), ["loading", "load"]);
    }
  });
});

test("looks become rarer, and a person is told after a good minute", () => {
  let waited = 0;
  let polls = 0;
  while (!isSlow(polls)) waited += pollDelay(polls++);
  assert.ok(waited >= 60_000 && waited <= 90_000, String(waited));
  assert.equal(pollDelay(1_000), 15_000);
});
