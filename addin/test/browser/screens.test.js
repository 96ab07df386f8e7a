// Every state of the page, in both languages and both colours, at 320 px: no accessibility violation, no horizontal scroll,
// nothing against the content security policy. Leaves a picture of each.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { statusAnswer } from "../server/fake-api.js";
import { startServers } from "../server/web-server.js";
import { NARROW, openBrowser } from "./browser.js";

const ownText = "First paragraph of our own notice.\n\nA-second-one-with-a-very-long-word-that-must-not-widen-the-pane-at-all-".repeat(2);
const otherHandling = {
  keptAfterEndSeconds: 129_600,
  onUnsubscribe: "KeepUntilEnd",
  purgedBookings: "Cancel",
  privateSubject: "Store",
  writeBack: "Property",
  passedOn: false,
};
const withdrawal = { selfServiceWithdrawal: true };

/** Name, view, query of the page, what the API does, what is done before looking. */
const SCREENS = [
  ["asked", "asked", "", [statusAnswer("Asked")]],
  ["asked-own-notice", "asked", "", [statusAnswer("Asked", { notice: { version: "2026-02", text: ownText } })]],
  ["asked-other-handling", "asked", "", [statusAnswer("Asked", { ...withdrawal, handling: otherHandling })]],
  ["asked-ticked", "asked", "", [statusAnswer("Asked")], (browser) => browser.find("#agree").click()],
  ["asked-again", "asked", "", [statusAnswer("NoticeOutdated", withdrawal)]],
  ["withdrawn", "asked", "", [statusAnswer("Withdrawn")]],
  ["progress", "progress", "", [statusAnswer("Pending")]],
  ["subscribed", "subscribed", "", [statusAnswer("Subscribed")]],
  ["subscribed-notice", "subscribed", "", [statusAnswer("Subscribed")], (browser) => browser.find("summary").click()],
  ["subscribed-withdraw", "subscribed", "", [statusAnswer("Subscribed", withdrawal)]],
  [
    "withdraw-confirm",
    "subscribed",
    "",
    [statusAnswer("Subscribed", withdrawal)],
    (browser) => browser.find(".withdrawal button").click(),
  ],
  ["paused", "paused", "", [statusAnswer("Paused")]],
  ["out-of-scope", "outOfScope", "", [statusAnswer("OutOfScope")]],
  ["trouble", "trouble", "", [statusAnswer("Trouble", { reason: "MailboxUnavailable" })]],
  ["offline", "offline", "", "down"],
  ["sign-in", "signIn", "&signIn=needed", []],
  ["sign-in-unsupported", "signIn", "&auth=none", []],
  ["refused", "refused", "", [{ code: 403, body: { error: { code: "Forbidden" } } }]],
  ["failed", "failed", "", [{ code: 400, body: {} }]],
  ["outside-office", "failed", "&host=none", []],
];

describe("each screen", () => {
  let servers;
  let browser;
  before(async () => {
    browser = await openBrowser();
  });
  after(() => browser?.close());
  beforeEach(async () => {
    servers = await startServers();
  });
  afterEach(() => servers.close());

  for (const [name, view, query, statuses, act] of SCREENS) {
    for (const [language, dark] of [
      ["en-GB", false],
      ["de-DE", true],
    ]) {
      test(`${name}, ${language}, ${dark ? "dark" : "light"}`, async () => {
        if (statuses === "down") servers.api.down = true;
        else if (statuses.length > 0) servers.api.statuses = [...statuses];
        await browser.open(`${servers.page}?lang=${language}${query}`, { dark });
        await browser.shows(view);
        await act?.(browser);
        await browser.picture(`${name}-${language.slice(0, 2)}-${dark ? "dark" : "light"}`);

        assert.deepEqual(await browser.violations(), []);
        assert.equal(await browser.evaluate("return document.documentElement.scrollWidth"), NARROW);
        // Outside of Office only the browser tells a language.
        const shown = name === "outside-office" ? "en" : language.slice(0, 2);
        assert.equal(await browser.evaluate("return document.documentElement.lang"), shown);
        assert.equal(await browser.evaluate("return document.querySelectorAll('h1').length"), 1);
        assert.deepEqual(await browser.stopped(), []);
        const asked = await browser.evaluate(
          "return performance.getEntriesByType('resource').map(({name}) => new URL(name).origin)",
        );
        assert.deepEqual([...new Set(asked)].sort(), servers.origins);
        const background = await browser.evaluate("return getComputedStyle(document.body).backgroundColor");
        assert.equal(background, dark ? "rgb(27, 26, 25)" : "rgb(255, 255, 255)");
      });
    }
  }

  test("the theme of Office goes before that of the system", async () => {
    servers.api.statuses = [statusAnswer("Subscribed")];
    for (const [theme, dark, colour] of [
      ["dark", false, "rgb(27, 26, 25)"],
      ["light", true, "rgb(255, 255, 255)"],
    ]) {
      await browser.open(`${servers.page}?theme=${theme}`, { dark });
      await browser.shows("subscribed");
      assert.equal(await browser.evaluate("return getComputedStyle(document.body).backgroundColor"), colour);
      assert.deepEqual(await browser.violations(), []);
    }
  });
});
