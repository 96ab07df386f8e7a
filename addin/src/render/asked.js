// The question itself: the notice, a tick box that starts empty, and a button that it enables.

import { button, element, paragraph } from "./element.js";
import { notice } from "./notice.js";

/** @type {(state: any, context: import("./screens.js").Context) => any[]} */
export function askedScreen(state, context) {
  const { words, settings, send } = context;
  const { organisation } = settings;
  const box = element("input", {
    type: "checkbox",
    id: "agree",
    onchange: () => send({ type: "ticked", ticked: box.checked }),
  });
  box.checked = state.ticked;

  return [
    element("h1", { tabindex: "-1" }, words.text("asked.heading", { organisation })),
    before(state.status, words),
    paragraph(words.text("asked.lead", { organisation })),
    notice(words, state.status, settings),
    element(
      "div",
      { class: "decide" },
      element("label", { for: "agree" }, box, element("span", {}, words.text("asked.tick"))),
      button(words.text("asked.button"), () => send({ type: "consent" }), {
        id: "consent",
        class: "primary",
        disabled: !state.ticked,
      }),
    ),
  ];
}

/** Follows the tick without building the screen anew, which would take the focus away. */
export function followTick(root, state) {
  const box = root.querySelector("#agree");
  if (box && box.checked !== state.ticked) box.checked = state.ticked;
  const consent = root.querySelector("#consent");
  if (consent) consent.disabled = !state.ticked;
}

/** What was decided before, if anything. */
function before(status, words) {
  if (status.state === "NoticeOutdated" && status.consent) {
    const date = words.date(status.consent.grantedAt);
    return paragraph(words.text("asked.changed", { date }), { class: "note" });
  }
  if (status.state === "Withdrawn" && status.withdrawnAt) {
    return paragraph(words.text("asked.withdrawn", { date: words.date(status.withdrawnAt) }), {
      class: "note",
    });
  }
  return null;
}
