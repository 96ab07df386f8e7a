// Runs the work that a state asks for and feeds the answers back.

import { initial, next } from "./machine.js";

/**
 * @param {object} parts
 * @param {Record<import("./machine.js").Work, (state: import("./machine.js").State, signal: AbortSignal) => Promise<any>>} parts.work
 *   resolves to the event that follows
 * @param {(state: import("./machine.js").State) => void} parts.show
 * @param {{set: (run: () => void, ms: number) => any, clear: (timer: any) => void}} [parts.timers]
 */
export function createController({ work, show, timers = browserTimers }) {
  let state = initial();
  let timer = null;
  let abort = new AbortController();

  function send(event) {
    const before = state;
    state = next(state, event);
    if (state === before) return;
    if (state.run !== before.run) schedule();
    show(state);
  }

  function schedule() {
    timers.clear(timer);
    abort.abort();
    abort = new AbortController();
    // A state that waits for a sign-in keeps its work and starts it when the person comes back.
    if (!state.work || state.view === "signIn") return;
    const { signal } = abort;
    const { run } = state;
    timer = timers.set(async () => {
      let event;
      try {
        event = await work[state.work.kind](state, signal);
      } catch (error) {
        event = { type: "failed", reason: error?.message ?? null };
      }
      if (!signal.aborted) send({ ...event, run });
    }, state.work.delay);
  }

  return {
    send,
    state: () => state,
    start() {
      show(state);
      schedule();
    },
  };
}

const browserTimers = { set: (run, ms) => setTimeout(run, ms), clear: (timer) => clearTimeout(timer) };
