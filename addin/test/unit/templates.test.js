import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { fill } from "../server/fill.js";
import { exampleSettings } from "../server/settings.js";

const at = (path) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), "utf8");
const settings = exampleSettings({ addInVersion: "1.2.3" });
const TEMPLATES = [
  "src/index.html",
  "src/content-security-policy.txt",
  "manifests/manifest.json",
  "manifests/manifest.de.json",
  "manifests/manifest.xml",
];

describe("placeholders", () => {
  for (const { file, text, settings: given, filled, refused } of JSON.parse(at("test/server/fill-cases.json"))) {
    test(`${file}: ${text}`, () => {
      if (refused) assert.throws(() => fill(file, text, given));
      else assert.equal(fill(file, text, given), filled);
    });
  }

  test("the templates use the settings that README.md lists, and all of them", () => {
    const used = new Set(TEMPLATES.flatMap((path) => [...at(path).matchAll(/\{\{([A-Za-z]+)\}\}/g)].map(([, name]) => name)));
    assert.deepEqual([...used].sort(), Object.keys(settings).sort());
    const listed = [...at("README.md").matchAll(/^\| `\{\{([A-Za-z]+)\}\}` \|/gm)].map(([, name]) => name);
    assert.deepEqual(listed.sort(), [...used].sort());
  });

  test("the manifests stay what they are", () => {
    const json = JSON.parse(fill("manifest.json", at("manifests/manifest.json"), settings));
    assert.equal(json.developer.name, "Contoso & Söhne");
    assert.equal(json.validDomains[0], "roomkeeper.contoso.example");
    const page = json.extensions[0].runtimes[0].code.page;
    assert.equal(page, "https://roomkeeper.contoso.example/addin/contoso/contoso/index.html");
    const xml = fill("manifest.xml", at("manifests/manifest.xml"), settings);
    assert.ok(xml.includes("<ProviderName>Contoso &amp; Söhne</ProviderName>"));
    assert.ok(xml.includes(`"${page}"`));
    JSON.parse(fill("manifest.de.json", at("manifests/manifest.de.json"), settings));
  });

  test("the names of the German texts are paths into the manifest", () => {
    const manifest = JSON.parse(at("manifests/manifest.json"));
    for (const path of Object.keys(JSON.parse(at("manifests/manifest.de.json"))).filter((key) => !key.startsWith("$"))) {
      const found = path.split(/[.[\]]+/).reduce((value, part) => value?.[part], manifest);
      assert.equal(typeof found, "string", path);
    }
  });

  test("what Microsoft limits is kept", () => {
    const { name, description } = JSON.parse(fill("m.json", at("manifests/manifest.json"), settings));
    assert.ok(name.short.length <= 30 && description.short.length <= 80 && description.full.length <= 4_000);
  });
});

test("nothing inline, and no host but Office's and the login host", () => {
  const html = at("src/index.html");
  assert.doesNotMatch(html, /<script(?![^>]* src=)|<style|\son[a-z]+=|style=|javascript:/);
  const policy = fill("p.txt", at("src/content-security-policy.txt").trim(), settings);
  assert.doesNotMatch(policy, /unsafe|\*|data:|blob:/);
  const hosts = [...policy.matchAll(/https:\/\/[^ ;]+/g)].map(String);
  assert.deepEqual(hosts, [
    "https://appsforoffice.microsoft.com",
    "https://login.microsoftonline.com",
    ...settings.hostOrigins.split(" "),
  ]);
});
