// The consent API. Every method resolves to an event of the state machine.

import { AuthError } from "../auth/auth-error.js";
import { backoff, isRetried, PATIENCE, retryAfter, TRIES } from "./backoff.js";
import { ContractError, parseStatus } from "./status.js";

/** Longest wait for one answer. */
const TIMEOUT = 15_000;

/**
 * @param {object} parts
 * @param {string} parts.url of the scope's consent
 * @param {string} parts.addInVersion
 * @param {string} parts.language
 * @param {(how: {fresh: boolean, interactive: boolean}) => Promise<string>} parts.token
 * @param {typeof fetch} [parts.fetch]
 * @param {(ms: number, signal?: AbortSignal) => Promise<void>} [parts.sleep]
 * @param {() => number} [parts.random]
 * @param {() => number} [parts.now]
 * @param {number} [parts.timeout]
 */
export function createApiClient({
  url,
  addInVersion,
  language,
  token,
  fetch = (...request) => globalThis.fetch(...request),
  sleep = pause,
  random = Math.random,
  now = Date.now,
  timeout = TIMEOUT,
}) {
  function attempt(method, target, body, bearer, signal) {
    const headers = { accept: "application/json", authorization: `Bearer ${bearer}` };
    if (body) headers["content-type"] = "application/json";
    return fetch(target, {
      method,
      headers,
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
      signal: either(AbortSignal.timeout(timeout), signal),
    });
  }

  /** One request with its retries; resolves to the answer, or to an event where there is none to look at. */
  async function request(method, target, body, { interactive = false, signal } = {}) {
    let fresh = false;
    let after = 0;
    for (let tries = 0; tries < TRIES; tries += 1) {
      if (tries > 0) await sleep(Math.max(after, backoff(tries - 1, random)), signal);
      after = 0;
      let response;
      try {
        const bearer = await token({ fresh, interactive });
        response = await attempt(method, target, body, bearer, signal).catch(() => null);
      } catch (error) {
        if (!(error instanceof AuthError)) throw error;
        if (error.reason !== "unreachable") return { event: error.event() };
      }
      signal?.throwIfAborted();
      if (!response) continue;
      // A token that ran out, or keys that changed: another token, once, without waiting.
      if (response.status === 401 && !fresh) {
        fresh = true;
        tries -= 1;
        continue;
      }
      if (!isRetried(response.status)) return { response };
      after = retryAfter(response.headers.get("retry-after"), now());
      if (after > PATIENCE) break;
    }
    return { event: { type: "unreachable", after } };
  }

  async function ask(method, target, body, how, read) {
    const { response, event } = await request(method, target, body, how);
    if (event) return event;
    try {
      return await read(response);
    } catch (error) {
      if (error instanceof ContractError || error instanceof SyntaxError) {
        return { type: "failed", reason: "contract" };
      }
      // The answer broke off.
      return { type: "unreachable", after: 0 };
    }
  }

  return {
    status: (how) =>
      ask("GET", `${url}?language=${encodeURIComponent(language)}`, undefined, how, async (response) =>
        response.status === 200
          ? { type: "status", status: parseStatus(await response.json()) }
          : refusal(response),
      ),

    grant: (noticeVersion, how) =>
      ask("POST", url, { noticeVersion, addInVersion }, how, (response) => {
        if (response.status === 200 || response.status === 201) return { type: "granted" };
        return response.status === 409 ? { type: "outdated" } : refusal(response);
      }),

    withdraw: (how) =>
      ask("DELETE", url, undefined, how, async (response) => {
        if (response.status === 204) return { type: "withdrawn" };
        return response.status === 403 && (await code(response)) === "NotAllowed"
          ? { type: "notAllowed" }
          : refusal(response);
      }),
  };
}

function refusal(response) {
  if (response.status === 401 || response.status === 403) return { type: "refused" };
  return { type: "failed", reason: `http-${response.status}` };
}

async function code(response) {
  return (await response.json())?.error?.code;
}

/** Aborted with either of the two. @param {AbortSignal} one @param {AbortSignal} [other] */
function either(one, other) {
  const both = new AbortController();
  for (const signal of [one, other]) {
    if (signal?.aborted) both.abort(signal.reason);
    signal?.addEventListener("abort", () => both.abort(signal.reason), { once: true });
  }
  return both.signal;
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
