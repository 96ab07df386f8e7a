import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { createApiClient } from "../../src/api/client.js";
import { AuthError } from "../../src/auth/auth-error.js";
import { statusAnswer } from "../server/fake-api.js";

const URL = "https://rk.example/api/scopes/a/b/consent";

function answer(status, body, headers = {}) {
  return new Response(body === undefined ? null : JSON.stringify(body), { status, headers });
}

/** A client over those answers, in that order; an Error is thrown. */
function rig(answers, { token } = {}) {
  const seen = { requests: [], slept: [], tokens: [] };
  const client = createApiClient({
    url: URL,
    addInVersion: "1.2.3",
    language: "de",
    token: async (how) => {
      seen.tokens.push(how);
      return token ? token(how) : `t${seen.tokens.length}`;
    },
    fetch: async (url, request) => {
      seen.requests.push({ url, ...request });
      const next = answers.shift();
      if (next === undefined) throw new Error("one request too many");
      if (next instanceof Error) throw next;
      return next;
    },
    sleep: async (ms) => void seen.slept.push(ms),
    random: () => 1,
    now: () => Date.parse("2026-01-01T00:00:00Z"),
  });
  return { client, seen };
}

describe("requests", () => {
  test("a look asks for the language and sends the token, no cookies, no referrer", async () => {
    const { client, seen } = rig([answer(200, statusAnswer("Asked"))]);
    const event = await client.status();
    assert.equal(event.type, "status");
    assert.equal(event.status.notice.version, "2026-01");
    const [{ url, method, headers, credentials, referrerPolicy, redirect }] = seen.requests;
    assert.deepEqual([url, method], [`${URL}?language=de`, "GET"]);
    assert.equal(headers.authorization, "Bearer t1");
    assert.deepEqual([credentials, referrerPolicy, redirect], ["omit", "no-referrer", "error"]);
  });

  test("a consent sends what the server documents and nothing else", async () => {
    for (const code of [200, 201]) {
      const { client, seen } = rig([answer(code, {})]);
      assert.deepEqual(await client.grant("2026-01"), { type: "granted" });
      const [{ method, body, headers }] = seen.requests;
      assert.equal(method, "POST");
      assert.equal(headers["content-type"], "application/json");
      assert.deepEqual(JSON.parse(body), { noticeVersion: "2026-01", addInVersion: "1.2.3" });
    }
  });

  test("a withdrawal", async () => {
    const { client, seen } = rig([answer(204)]);
    assert.deepEqual(await client.withdraw(), { type: "withdrawn" });
    assert.deepEqual([seen.requests[0].method, seen.requests[0].url], ["DELETE", URL]);
  });
});

describe("refusals", () => {
  const error = (code) => ({ error: { code, message: "m" } });
  for (const [name, call, reply, expected] of [
    ["an outdated notice", "grant", answer(409, error("NoticeOutdated")), { type: "outdated" }],
    ["an app's token", "grant", answer(403, error("Forbidden")), { type: "refused" }],
    ["a withdrawal that is not allowed", "withdraw", answer(403, error("NotAllowed")), { type: "notAllowed" }],
    ["a withdrawal with an app's token", "withdraw", answer(403, error("Forbidden")), { type: "refused" }],
    ["a bad request", "grant", answer(400, error("BadRequest")), { type: "failed", reason: "http-400" }],
    ["no such page", "status", answer(404), { type: "failed", reason: "http-404" }],
    ["an answer that is none", "status", answer(200, { state: "New" }), { type: "failed", reason: "contract" }],
    ["an answer that is no JSON", "status", new Response("<html>"), { type: "failed", reason: "contract" }],
  ]) {
    test(name, async () => {
      const { client, seen } = rig([reply]);
      assert.deepEqual(await client[call]("v"), expected);
      assert.equal(seen.requests.length, 1);
    });
  }

  test("401: another token once, then refused", async () => {
    const good = rig([answer(401), answer(200, statusAnswer("Asked"))]);
    assert.equal((await good.client.status()).type, "status");
    assert.deepEqual(
      good.seen.tokens.map(({ fresh }) => fresh),
      [false, true],
    );
    assert.deepEqual(good.seen.slept, []);
    const bad = rig([answer(401), answer(401)]);
    assert.deepEqual(await bad.client.status(), { type: "refused" });
  });
});

describe("retries", () => {
  test("connections that fail are tried three times, with growing pauses", async () => {
    const { client, seen } = rig([new TypeError("failed"), new TypeError("failed"), new TypeError("failed")]);
    assert.deepEqual(await client.status(), { type: "unreachable", after: 0 });
    assert.deepEqual(seen.slept, [500, 1_000]);
  });

  for (const code of [408, 429, 500, 502, 503, 504]) {
    test(`${code} is tried again`, async () => {
      const { client, seen } = rig([answer(code), answer(201, {})]);
      assert.deepEqual(await client.grant("v"), { type: "granted" });
      assert.deepEqual(seen.slept, [500]);
    });
  }

  test("Retry-After is kept, in seconds and as a date", async () => {
    const date = "Thu, 01 Jan 2026 00:00:07 GMT";
    const { client, seen } = rig([
      answer(503, {}, { "retry-after": "5" }),
      answer(429, {}, { "retry-after": date }),
      answer(503, {}, { "retry-after": "10" }),
    ]);
    assert.deepEqual(await client.status(), { type: "unreachable", after: 10_000 });
    assert.deepEqual(seen.slept, [5_000, 7_000]);
  });

  test("a long Retry-After is told at once", async () => {
    const { client, seen } = rig([answer(429, {}, { "retry-after": "120" })]);
    assert.deepEqual(await client.status(), { type: "unreachable", after: 120_000 });
    assert.deepEqual(seen.slept, []);
  });

  test("an answer that breaks off counts as no connection", async () => {
    const broken = answer(200, {});
    broken.json = async () => {
      throw new TypeError("terminated");
    };
    assert.deepEqual(await rig([broken]).client.status(), { type: "unreachable", after: 0 });
  });

  test("work that was given up is not tried again", async () => {
    const abort = new AbortController();
    const { client, seen } = rig([new TypeError("failed")]);
    abort.abort();
    await assert.rejects(client.status({ signal: abort.signal }));
    assert.equal(seen.requests.length, 1);
  });
});

describe("sign-in", () => {
  test("a mistake in it is told, not tried again", async () => {
    const { client, seen } = rig([], {
      token() {
        throw new TypeError("a mistake");
      },
    });
    await assert.rejects(client.status(), TypeError);
    assert.equal(seen.tokens.length, 1);
  });

  test("a network that comes back while signing in", async () => {
    let tries = 0;
    const { client } = rig([answer(204)], {
      token() {
        tries += 1;
        if (tries === 1) throw new AuthError("unreachable");
        return "t";
      },
    });
    assert.deepEqual(await client.withdraw(), { type: "withdrawn" });
  });

  for (const [reason, expected] of [
    ["interaction", { type: "signInNeeded", reason: "interaction" }],
    ["cancelled", { type: "signInNeeded", reason: "cancelled" }],
    ["unsupported", { type: "signInNeeded", reason: "unsupported" }],
    ["denied", { type: "refused" }],
    ["unreachable", { type: "unreachable", after: 0 }],
  ]) {
    test(reason, async () => {
      const { client, seen } = rig([], {
        token() {
          throw new AuthError(reason);
        },
      });
      assert.deepEqual(await client.status({ interactive: false }), expected);
      assert.equal(seen.requests.length, 0);
    });
  }
});
