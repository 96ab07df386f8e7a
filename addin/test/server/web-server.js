// Serves dist/ as the webhook server does, beside a fake of the consent API, and the stub of Office on another origin.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

import { FakeApi } from "./fake-api.js";
import { fill, isTemplate } from "./fill.js";
import { exampleSettings } from "./settings.js";

const DIST = fileURLToPath(new URL("../../dist/", import.meta.url));
const STUB = fileURLToPath(new URL("../browser/office-stub.js", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".png": "image/png" };
const PREFIX = "/addin/contoso/contoso/";

/** @returns {Promise<{api: FakeApi, page: string, origins: string[], close: () => void}>} */
export async function startServers() {
  const api = new FakeApi();
  const office = await listen(createServer(async (_, response) => send(response, "office.js", await readFile(STUB))));
  let settings;
  const web = await listen(
    createServer(async (request, response) => {
      const { pathname } = new URL(request.url, "http://fake");
      if (pathname === "/api/scopes/contoso/contoso/consent") {
        await api.handle(request, response);
        return;
      }
      const name = pathname.startsWith(PREFIX) ? pathname.slice(PREFIX.length) : "";
      if (!/^[a-z0-9.-]+$/.test(name)) {
        response.writeHead(404).end();
        return;
      }
      try {
        await serve(response, name, settings);
      } catch {
        response.writeHead(404).end();
      }
    }),
  );
  settings = exampleSettings({
    publicUrl: web.origin,
    publicOrigin: web.origin,
    publicHost: new URL(web.origin).host,
    officeScriptUrl: `${office.origin}/office.js`,
    officeScriptOrigin: office.origin,
  });
  return {
    api,
    /** Of the page and of the stub of Office. */
    origins: [web.origin, office.origin].sort(),
    page: `${web.origin}${PREFIX}index.html`,
    close() {
      for (const { server } of [web, office]) {
        server.closeAllConnections();
        server.close();
      }
    },
  };
}

async function serve(response, name, settings) {
  const bytes = await readFile(DIST + name);
  const policy = await readFile(`${DIST}content-security-policy.txt`, "utf8");
  const headers = { "content-security-policy": fill("policy.txt", policy.trim(), settings) };
  send(response, name, isTemplate(name) ? fill(name, bytes.toString(), settings) : bytes, headers);
}

function send(response, name, body, headers = {}) {
  response.writeHead(200, {
    "content-type": TYPES[extname(name)] ?? "text/plain",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    ...headers,
  });
  response.end(body);
}

async function listen(server) {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}
