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
    const first = !shown || shown.view === "loading";
    const moved = main.contains(document.activeElement);
    const confirming = shown?.confirming;
    main.replaceChildren(...screen(state, { ...context, send }));
    main.setAttribute("aria-busy", String(["loading", "granting", "withdrawing"].includes(state.view)));
    main.dataset.view = state.view;

    // Whoever acted finds the focus on what followed; nobody who only waits is moved.
    if (state.confirming) main.querySelector("#withdraw-heading").focus();
    else if (confirming && shown.view === state.view) main.querySelector(".withdrawal button")?.focus();
    else if (moved) main.querySelector("h1").focus();
    if (!first || !moved) announce(main, state);
  }

  function announce(root, state) {
    const text = [root.querySelector("h1")?.textContent];
    if (state.view === "progress") text.push(root.querySelector(".running")?.textContent);
    const next = text.filter(Boolean).join(". ");
    if (announcer.textContent !== next) announcer.textContent = next;
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
