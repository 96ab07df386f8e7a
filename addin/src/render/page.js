// Puts a state on the screen, moves the focus with it and tells screen readers what has changed.

import { isSlow } from "../state/pace.js";
import { followTick } from "./asked.js";
import { screen } from "./screens.js";

/**
 * @param {Document} document
 * @param {Omit<import("./screens.js").Context, "send">} context
 * @param {(event: {type: string}) => void} send
 */
export function createPage(document, context, send) {
  const main = document.querySelector("main");
  const announcer = document.querySelector("#announcer");
  let shown = null;

  document.documentElement.lang = context.words.language;
  document.title = context.words.text("title");

  return function show(state) {
    if (!shown || key(state) !== key(shown)) replace(state);
    else if (state.view === "asked") followTick(main, state);
    shown = state;
  };

  function replace(state) {
    const moved = main.contains(document.activeElement);
    const confirming = shown?.confirming;
    main.replaceChildren(...screen(state, { ...context, send }));
    main.setAttribute("aria-busy", String(["loading", "granting", "withdrawing"].includes(state.view)));
    main.dataset.view = state.view;

    // Whoever had the focus here finds it on what followed, which is then read out; others are told.
    if (state.confirming) main.querySelector("#withdraw-heading").focus();
    else if (confirming && shown.view === state.view) main.querySelector(".withdrawal button")?.focus();
    else if (moved) main.querySelector("h1").focus();
    announcer.textContent = moved ? "" : spoken(state);
  }

  function spoken(state) {
    const parts = [main.querySelector("h1").textContent];
    if (state.view === "progress") parts.push(main.querySelector(".running").textContent);
    return parts.join(". ");
  }
}

/** Two states with the same key look the same, apart from the tick. */
function key(state) {
  return JSON.stringify([
    state.view,
    state.confirming,
    state.reason,
    state.view === "offline" ? state.work?.kind : null,
    state.view === "progress" ? isSlow(state.polls) : null,
    state.status,
  ]);
}
