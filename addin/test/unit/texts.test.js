import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { chooseLanguage, wording } from "../../src/render/wording.js";

const folder = fileURLToPath(new URL("../../src/texts/", import.meta.url));
const files = readdirSync(folder);
const read = (file) => JSON.parse(readFileSync(folder + file, "utf8"));
const values = (text) => [...String(text).matchAll(/\{[a-z]+\}/g)].map(String).sort();

test("every language says the same things with the same values", () => {
  const english = read("en.json");
  for (const file of files) {
    const other = read(file);
    assert.deepEqual(Object.keys(other).sort(), Object.keys(english).sort(), file);
    for (const [key, text] of Object.entries(english)) {
      assert.equal(Array.isArray(other[key]), Array.isArray(text), `${file} ${key}`);
      if (Array.isArray(text)) assert.equal(other[key].length, text.length, `${file} ${key}`);
      assert.deepEqual(values(other[key]), values(text), `${file} ${key}`);
    }
  }
});

test("every file is a language of the page", () => {
  for (const file of files) assert.equal(chooseLanguage([file.replace(".json", "-XX")]), file.replace(".json", ""));
});

test("the language of Office decides, and English where there is no other", () => {
  assert.equal(chooseLanguage(["de-AT", "en-US"]), "de");
  assert.equal(chooseLanguage(["fr-FR", "de"]), "de");
  assert.equal(chooseLanguage(["fr-FR"]), "en");
  assert.equal(chooseLanguage([]), "en");
});

test("durations and missing values", () => {
  assert.equal(wording("en").duration(90_000), "1 day, 1 hour");
  assert.equal(wording("de").duration(172_800), "2 Tage");
  assert.throws(() => wording("en").text("asked.heading"), /organisation/);
  assert.throws(() => wording("en").text("nothing"), /nothing/);
});
