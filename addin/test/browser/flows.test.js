// What a person does on the page, with the keyboard alone, and what the server hears of it.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";

import { Key } from "selenium-webdriver";

import { statusAnswer } from "../server/fake-api.js";
import { startServers } from "../server/web-server.js";
import { openBrowser } from "./browser.js";

const methods = (api) => api.requests.map(({ method }) => method);

describe("flows", () => {
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

  const press = (...keys) => browser.driver.actions().sendKeys(...keys).perform();
  const focused = () =>
    browser.evaluate("const e = document.activeElement; return e.id || e.textContent.trim() || e.tagName");
  async function tabTo(wanted) {
    for (let steps = 0; steps < 20; steps += 1) {
      if ((await focused()) === wanted) return;
      await press(Key.TAB);
    }
    assert.fail(`no way to ${wanted} by Tab; at ${await focused()}`);
  }

  test("the box starts empty, enables the button, and consent leads to the subscription", async () => {
    const { api, page } = servers;
    api.statuses = [statusAnswer("Asked"), statusAnswer("Pending"), statusAnswer("Pending"), statusAnswer("Subscribed")];
    await browser.open(page);
    await browser.shows("asked");
    assert.equal(await browser.find("#agree").isSelected(), false);
    assert.equal(await browser.find("#consent").isEnabled(), false);

    await tabTo("agree");
    await press(Key.SPACE);
    assert.equal(await browser.find("#consent").isEnabled(), true);
    assert.equal(await focused(), "agree", "the focus stays where it was");
    await press(Key.SPACE);
    assert.equal(await browser.find("#consent").isEnabled(), false);
    await press(Key.SPACE, Key.TAB, Key.ENTER);

    await browser.shows("progress");
    await browser.shows("subscribed");
    assert.match(await browser.text(), /You consented on 2 March 2026|March 2, 2026/);
    assert.equal(await focused(), "Your calendar is followed");
    assert.deepEqual(methods(api), ["GET", "POST", "GET", "GET", "GET"]);
    assert.deepEqual(api.requests[1].body, { noticeVersion: "2026-01", addInVersion: "1.0.0" });
    assert.match(api.requests[1].authorization, /^Bearer naa-token-\d+$/);
    assert.equal(api.requests[0].language, "en");
  });

  test("whoever only waits is told, and keeps the focus where it was", async () => {
    servers.api.statuses = [statusAnswer("Pending"), statusAnswer("Subscribed")];
    await browser.open(servers.page);
    await browser.shows("progress");
    assert.equal(await browser.announced(), "Your consent is recorded. In progress: Calendar is being connected");
    await browser.shows("subscribed");
    assert.equal(await browser.announced(), "Your calendar is followed");
    assert.equal(await browser.evaluate("return document.activeElement === document.body"), true);
  });

  test("every control is reached by Tab and seen to have the focus", async () => {
    const { api, page } = servers;
    api.statuses = [statusAnswer("NoticeOutdated", { selfServiceWithdrawal: true })];
    await browser.open(page);
    await browser.shows("asked");
    const seen = [];
    for (let steps = 0; steps < 4; steps += 1) {
      await press(Key.TAB);
      seen.push(await focused());
      const outline = await browser.evaluate("return getComputedStyle(document.activeElement).outlineStyle");
      assert.equal(outline, "solid", seen.at(-1));
    }
    assert.deepEqual(seen, ["Support", "Privacy", "agree", "Withdraw consent"]);
  });

  test("withdrawing asks once more, and keeping goes back", async () => {
    const { api, page } = servers;
    const withdrawable = statusAnswer("Subscribed", { selfServiceWithdrawal: true });
    api.statuses = [withdrawable, statusAnswer("Withdrawn", { selfServiceWithdrawal: true })];
    await browser.open(page);
    await browser.shows("subscribed");
    await tabTo("Withdraw consent");
    await press(Key.ENTER);
    assert.equal(await focused(), "withdraw-heading");
    await tabTo("No, keep it");
    await press(Key.ENTER);
    assert.equal(await focused(), "Withdraw consent");
    assert.deepEqual(methods(api), ["GET"]);

    await press(Key.ENTER);
    await tabTo("Yes, withdraw");
    await press(Key.ENTER);
    await browser.shows("asked");
    assert.match(await browser.text(), /Your consent was withdrawn on/);
    assert.deepEqual(methods(api), ["GET", "DELETE", "GET"]);
  });

  test("no button to withdraw where the organisation has not allowed it", async () => {
    servers.api.statuses = [statusAnswer("Subscribed")];
    await browser.open(servers.page);
    await browser.shows("subscribed");
    assert.doesNotMatch(await browser.text(), /Withdraw/);
  });

  test("a notice that changed while it was read is shown again, with an empty box", async () => {
    const { api, page } = servers;
    api.statuses = [statusAnswer("Asked"), statusAnswer("Asked", { notice: { version: "2026-02", text: "New." } })];
    api.grant = { code: 409, body: { error: { code: "NoticeOutdated" }, noticeVersion: "2026-02" } };
    await browser.open(page);
    await browser.shows("asked");
    await browser.find("#agree").click();
    await browser.find("#consent").click();
    await browser.until(async () => /2026-02/.test(await browser.text()), "the new notice");
    assert.equal(await browser.find("#agree").isSelected(), false);
    assert.match(await browser.text(), /New\./);
  });

  test("offline is said, and trying again goes on where it was", async () => {
    const { api, page } = servers;
    api.statuses = [statusAnswer("Asked"), statusAnswer("Subscribed")];
    await browser.open(page);
    await browser.shows("asked");
    api.grant = { code: 503, body: { error: { code: "Unavailable" } }, headers: { "retry-after": "20" } };
    await browser.find("#agree").click();
    await browser.find("#consent").click();
    await browser.shows("offline");
    assert.match(await browser.text(), /perhaps not been recorded/);
    api.grant = { code: 201, body: {} };
    await tabTo("Try again");
    await press(Key.ENTER);
    await browser.shows("subscribed");
    assert.deepEqual(methods(api), ["GET", "POST", "POST", "GET"]);
  });

  test("the network coming back is noticed", async () => {
    servers.api.down = true;
    await browser.open(servers.page);
    await browser.shows("offline");
    servers.api.down = false;
    servers.api.statuses = [statusAnswer("Subscribed")];
    await browser.evaluate("window.dispatchEvent(new Event('online'))");
    await browser.shows("subscribed");
  });

  for (const auth of ["naa", "sso"]) {
    test(`${auth}: a sign-in window is opened only by the person`, async () => {
      const { api, page } = servers;
      api.statuses = [statusAnswer("Subscribed")];
      await browser.open(`${page}?auth=${auth}&signIn=needed`);
      await browser.shows("signIn");
      assert.equal(await browser.evaluate("return window.stub.interactive"), 0);
      await tabTo("Sign in");
      await press(Key.ENTER);
      await browser.shows("subscribed");
      assert.equal(await browser.evaluate("return window.stub.interactive"), 1);
      assert.equal(api.requests[0].authorization, `Bearer ${auth}-token-1`);
    });

    test(`${auth}: a sign-in that is left is said`, async () => {
      await browser.open(`${servers.page}?auth=${auth}&signIn=cancelled`);
      await browser.shows("signIn");
      await browser.button("Sign in").click();
      await browser.until(async () => /not completed/.test(await browser.text()), "the reason");
      assert.deepEqual(methods(servers.api), []);
    });

    test(`${auth}: a refused token is replaced once`, async () => {
      const { api, page } = servers;
      api.statuses = [statusAnswer("Subscribed")];
      api.refusedToken = `${auth}-token-1`;
      await browser.open(`${page}?auth=${auth}`);
      await browser.shows("subscribed");
      assert.deepEqual(
        api.requests.map(({ authorization }) => authorization),
        [`Bearer ${auth}-token-1`, `Bearer ${auth}-token-2`],
      );
    });
  }

  test("a request to another host is stopped by the content security policy", async () => {
    await browser.open(servers.page);
    await browser.shows("asked");
    const stopped = await browser.evaluate(
      "return fetch('https://elsewhere.example/').then(() => false, () => true)",
    );
    assert.equal(stopped, true);
    assert.match((await browser.stopped()).join(), /elsewhere\.example.*connect-src/s);
  });
});
