// What the page shows and what it does next, as a value: state + event -> state. No clock, no network, no document.

import { pollDelay, retryDelay } from "./pace.js";

/**
 * @typedef {"load"|"grant"|"poll"|"withdraw"} Work
 * @typedef {"loading"|"signIn"|"refused"|"asked"|"granting"|"progress"|"subscribed"|"paused"|"outOfScope"|"trouble"
 *   |"withdrawing"|"offline"|"failed"} View
 * @typedef {object} State
 * @property {View} view what is on the screen
 * @property {import("../api/status.js").Status|null} status the last answer of the server
 * @property {boolean} ticked the box
 * @property {boolean} confirming a withdrawal is being asked for once more
 * @property {boolean} interactive whether a sign-in window may be opened
 * @property {number} polls answers since the consent without a subscription
 * @property {number} failures in a row
 * @property {string|null} reason for the views that have one
 * @property {number} run number of the work; an answer to another run is not taken
 * @property {{kind: Work, delay: number}|null} work what is to be done, in how many milliseconds
 */

/** @type {Readonly<Record<string, View>>} */
const VIEWS = {
  Asked: "asked",
  NoticeOutdated: "asked",
  Withdrawn: "asked",
  Pending: "progress",
  Subscribed: "subscribed",
  Paused: "paused",
  OutOfScope: "outOfScope",
  Trouble: "trouble",
};

/** Views that only look: they may be looked at again at any time. */
const RESTING = new Set(["subscribed", "paused", "outOfScope", "trouble", "asked"]);

/** @returns {State} */
export function initial() {
  return start(
    {
      view: "loading",
      status: null,
      ticked: false,
      confirming: false,
      interactive: false,
      polls: 0,
      failures: 0,
      reason: null,
      run: 0,
      work: null,
    },
    "loading",
    "load",
  );
}

/**
 * @param {State} state
 * @param {{type: string, run?: number, [member: string]: any}} event
 * @returns {State}
 */
export function next(state, event) {
  if (event.run !== undefined && event.run !== state.run) return state;
  const take = TRANSITIONS[event.type];
  if (!take) throw new TypeError(`unknown event ${event.type}`);
  return take(state, event);
}

/** @type {Record<string, (state: State, event: any) => State>} */
const TRANSITIONS = {
  // Answers to work.
  status: (state, { status }) => shown(state, status),
  granted: (state) => ({ ...start(state, "progress", "poll"), polls: 0, failures: 0, ticked: false }),
  outdated: (state) => ({ ...start(state, "loading", "load"), ticked: false, failures: 0 }),
  withdrawn: (state) => ({ ...start(state, "loading", "load"), failures: 0 }),
  notAllowed: (state) => ({ ...start(state, "loading", "load"), failures: 0 }),
  unreachable: (state, { after = 0 }) => {
    const delay = Math.max(after, retryDelay(state.failures));
    return { ...start(state, "offline", state.work?.kind ?? "load", delay), failures: state.failures + 1 };
  },
  signInNeeded: (state, { reason = null }) => rest(state, "signIn", reason),
  refused: (state) => rest(state, "refused"),
  failed: (state, { reason = null }) => rest(state, "failed", reason),

  // What the person does.
  ticked: (state, { ticked }) => (state.view === "asked" ? { ...state, ticked: Boolean(ticked) } : state),
  consent: (state) => (state.view === "asked" && state.ticked ? start(state, "granting", "grant") : state),
  signIn: (state) =>
    state.view === "signIn"
      ? { ...start(state, "loading", state.work?.kind ?? "load"), interactive: true }
      : state,
  retry: (state) => {
    if (state.view === "offline" && state.work) return start(state, "offline", state.work.kind);
    if (["failed", "refused"].includes(state.view) || (RESTING.has(state.view) && !state.confirming)) {
      return start(state, "loading", "load");
    }
    return state;
  },
  withdrawAsked: (state) => (mayWithdraw(state) ? { ...state, confirming: true } : state),
  withdrawLeft: (state) => ({ ...state, confirming: false }),
  withdraw: (state) =>
    state.confirming && mayWithdraw(state)
      ? { ...start(state, "withdrawing", "withdraw"), confirming: false }
      : state,
};

/** Whether the page offers to withdraw. @param {State} state */
export function mayWithdraw(state) {
  const { status, view } = state;
  const offered = RESTING.has(view) || view === "progress";
  return offered && Boolean(status?.selfServiceWithdrawal && status.consent);
}

function shown(state, status) {
  const view = VIEWS[status.state];
  // A notice that has changed is read before the box is ticked.
  const ticked = state.ticked && view === "asked" && state.status?.notice.version === status.notice.version;
  const seen = { ...state, status, ticked, failures: 0, interactive: false };
  if (view !== "progress") {
    const confirming = state.confirming && view === state.view;
    return { ...rest(seen, view), confirming, polls: 0 };
  }
  const polls = state.view === "progress" ? state.polls + 1 : state.polls;
  return { ...start(seen, "progress", "poll", pollDelay(polls)), confirming: state.confirming, polls };
}

function start(state, view, kind, delay = 0) {
  return { ...state, view, reason: null, confirming: false, run: state.run + 1, work: { kind, delay } };
}

/** Nothing more is done by itself. What was tried is kept where a sign-in comes between. */
function rest(state, view, reason = null) {
  const work = view === "signIn" ? state.work : null;
  return { ...state, view, reason, confirming: false, run: state.run + 1, work };
}
