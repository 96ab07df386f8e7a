// The XML manifest is XML, and every resource that it names is defined.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { startServers } from "../server/web-server.js";
import { openBrowser } from "./browser.js";

describe("the served manifest", () => {
  let servers;
  let browser;
  before(async () => {
    [browser, servers] = await Promise.all([openBrowser(), startServers()]);
  });
  after(async () => {
    await browser?.close();
    servers?.close();
  });

  test("can be parsed, and holds what it refers to", async () => {
    await browser.open(servers.page);
    await browser.shows("asked");
    const found = await browser.evaluate(`
      return fetch("manifest.xml").then((answer) => answer.text()).then((text) => {
        const xml = new DOMParser().parseFromString(text, "application/xml");
        const all = [...xml.querySelectorAll("*")];
        const ids = all.filter((e) => e.prefix === "bt" && e.hasAttribute("id")).map((e) => e.getAttribute("id"));
        const named = all.map((e) => e.getAttribute("resid")).filter(Boolean);
        return {
          error: xml.querySelector("parsererror")?.textContent ?? null,
          provider: xml.querySelector("ProviderName")?.textContent,
          missing: named.filter((id) => !ids.includes(id)),
          unused: ids.filter((id) => !named.includes(id)),
          long: all.filter((e) => e.localName === "String" && e.getAttribute("DefaultValue").length > (e.parentNode.localName === "ShortStrings" ? 125 : 250)).length,
        };
      });`);
    assert.deepEqual(found, { error: null, provider: "Contoso & Söhne", missing: [], unused: [], long: 0 });
  });
});
