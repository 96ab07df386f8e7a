import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { parseStatus } from "../../src/api/status.js";
import { statusAnswer } from "../server/fake-api.js";

describe("status answers that are not what the contract says", () => {
  const bad = (change) => {
    const answer = statusAnswer("Subscribed");
    change(answer);
    return answer;
  };
  for (const [member, change] of [
    ["state", (a) => (a.state = "New")],
    ["notice.version", (a) => delete a.notice.version],
    ["notice.text", (a) => (a.notice.text = 1)],
    ["consent", (a) => delete a.consent],
    ["consent.grantedAt", (a) => (a.consent.grantedAt = "yesterday")],
    ["consent.noticeVersion", (a) => delete a.consent.noticeVersion],
    ["handling.keptAfterEndSeconds", (a) => (a.handling.keptAfterEndSeconds = -1)],
    ["handling.onUnsubscribe", (a) => (a.handling.onUnsubscribe = "Later")],
    ["handling.passedOn", (a) => (a.handling.passedOn = "yes")],
    ["handling.writeBack", (a) => delete a.handling.writeBack],
  ]) {
    test(member, () => assert.throws(() => parseStatus(bad(change)), { message: member }));
  }
  test("no object at all", () => assert.throws(() => parseStatus(null)));
});
