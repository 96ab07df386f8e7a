// How long the page waits before it looks or tries again.

const POLLS = [1_000, 2_000, 2_000, 3_000, 5_000, 5_000, 10_000];
const POLL_LIMIT = 15_000;
const RETRY_FIRST = 5_000;
const RETRY_LIMIT = 60_000;

/** Answers after which a person is told that it takes longer: a good minute. */
const SLOW_AFTER = 10;

/** Milliseconds before the next look at a calendar that is not subscribed yet. @param {number} polls so far */
export function pollDelay(polls) {
  return POLLS[polls] ?? POLL_LIMIT;
}

/** Milliseconds before the next try after a failure. @param {number} failures before this one */
export function retryDelay(failures) {
  return Math.min(RETRY_LIMIT, RETRY_FIRST * 2 ** Math.min(failures, 10));
}

/** @param {number} polls */
export function isSlow(polls) {
  return polls >= SLOW_AFTER;
}
