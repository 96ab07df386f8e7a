// Writes dist/, the folder that the webhook server serves.

import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { icon } from "./icon.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = `${root}dist/`;
const { version } = JSON.parse(await readFile(`${root}package.json`, "utf8"));

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
await build({
  entryPoints: [`${root}src/main.js`],
  outfile: `${dist}pane.js`,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  legalComments: "eof",
  logLevel: "warning",
});
await cp(`${root}src/pane.css`, `${dist}pane.css`);

// The version is the one placeholder that is filled in here; the others are left to the server.
const templates = {
  "index.html": "src/index.html",
  "content-security-policy.txt": "src/content-security-policy.txt",
  "manifest.json": "manifests/manifest.json",
  "manifest.de.json": "manifests/manifest.de.json",
  "manifest.xml": "manifests/manifest.xml",
};
for (const [name, source] of Object.entries(templates)) {
  const text = await readFile(`${root}${source}`, "utf8");
  await writeFile(`${dist}${name}`, text.replaceAll("{{addInVersion}}", version));
}

for (const size of [16, 32, 64, 80, 128, 192]) await writeFile(`${dist}icon-${size}.png`, icon(size));
await writeFile(`${dist}icon-outline.png`, icon(32, { outline: true }));
