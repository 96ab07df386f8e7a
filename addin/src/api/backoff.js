// When a request is tried again, and after how long.

/** Tries of one request before the page says that it is offline. */
export const TRIES = 3;

const FIRST = 500;
const LIMIT = 8_000;

/** Longest `Retry-After` that a request waits for by itself; beyond it the page says so and waits. */
export const PATIENCE = 12_000;

const RETRIED = new Set([408, 429, 500, 502, 503, 504]);

/** @param {number} status */
export function isRetried(status) {
  return RETRIED.has(status);
}

/**
 * Milliseconds before the next try: exponential with full jitter.
 * @param {number} tries so far
 * @param {() => number} random
 */
export function backoff(tries, random) {
  return Math.round(Math.min(LIMIT, FIRST * 2 ** tries) * random());
}

/**
 * Milliseconds that a `Retry-After` asks for, in either form of the header; 0 without one.
 * @param {string|null} header
 * @param {number} now
 */
export function retryAfter(header, now) {
  if (!header) return 0;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1_000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}
