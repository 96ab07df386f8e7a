// One function per view: state -> elements. Every screen has exactly one heading that can take the focus.

import { mayWithdraw } from "../state/machine.js";
import { isSlow } from "../state/pace.js";
import { askedScreen } from "./asked.js";
import { button, element, paragraph } from "./element.js";
import { links, notice } from "./notice.js";

/**
 * @typedef {object} Context
 * @property {ReturnType<typeof import("./wording.js").wording>} words
 * @property {{organisation: string, supportUrl: string, privacyUrl: string}} settings
 * @property {(event: {type: string}) => void} send
 */

/** @type {Record<import("../state/machine.js").View, (state: any, context: Context) => any[]>} */
const SCREENS = {
  loading: (_, { words }) => [busy(words.text("loading"))],
  asked: askedScreen,
  granting: (_, { words }) => [busy(words.text("granting.heading"))],
  withdrawing: (_, { words }) => [busy(words.text("withdrawing.heading"))],

  progress: (state, { words }) => [
    heading(words.text("progress.heading")),
    element(
      "ol",
      { class: "steps" },
      step(words, "done", "progress.step.consent"),
      step(words, "running", "progress.step.subscribe"),
    ),
    isSlow(state.polls) && paragraph(words.text("progress.slow")),
  ],

  subscribed: (state, context) => {
    const { words } = context;
    return [
      heading(words.text("subscribed.heading"), "good"),
      paragraph(words.text("subscribed.since", { date: words.date(state.status.consent.grantedAt) })),
      agreedTo(state, context),
    ];
  },

  paused: (state, context) => {
    const { words, send } = context;
    const { consent } = state.status;
    const text = consent
      ? words.text("paused.text", { date: words.date(consent.grantedAt) })
      : words.text("paused.none");
    return [heading(words.text("paused.heading")), paragraph(text), again(words, send)];
  },

  outOfScope: (state, context) => {
    const { words, send, settings } = context;
    const { consent } = state.status;
    return [
      heading(words.text("outOfScope.heading")),
      paragraph(words.text("outOfScope.text")),
      consent && paragraph(words.text("outOfScope.consent", { date: words.date(consent.grantedAt) })),
      links(words, settings),
      again(words, send),
    ];
  },

  trouble: (state, context) => {
    const { words, send, settings } = context;
    const { consent, reason } = state.status;
    return [
      heading(words.text("trouble.heading"), "bad"),
      paragraph(words.text("trouble.text", { date: words.date(consent.grantedAt) })),
      reason && paragraph(words.text("trouble.reason", { reason }), { class: "code" }),
      links(words, settings),
      again(words, send),
    ];
  },

  offline: (state, { words, send }) => {
    const unsure = ["grant", "withdraw"].includes(state.work?.kind) && `offline.${state.work.kind}`;
    return [
      heading(words.text("offline.heading"), "bad"),
      paragraph(words.text("offline.text")),
      unsure && paragraph(words.text(unsure)),
      button(words.text("retry"), () => send({ type: "retry" }), { class: "primary" }),
    ];
  },

  signIn: (state, { words, send }) => [
    heading(words.text("signIn.heading")),
    paragraph(words.text(`signIn.${state.reason ?? "interaction"}`)),
    button(words.text("signIn.button"), () => send({ type: "signIn" }), { class: "primary" }),
  ],

  refused: (_, { words, send, settings }) => [
    heading(words.text("refused.heading"), "bad"),
    paragraph(words.text("refused.text")),
    links(words, settings),
    button(words.text("retry"), () => send({ type: "retry" })),
  ],

  failed: (state, { words, send, settings }) => [
    heading(words.text("failed.heading"), "bad"),
    paragraph(words.text(state.reason === "office" ? "failed.office" : "failed.text")),
    state.reason && paragraph(words.text("failed.code", { reason: state.reason }), { class: "code" }),
    links(words, settings),
    state.reason !== "office" && button(words.text("retry"), () => send({ type: "retry" })),
  ],
};

/** The elements of a state. */
export function screen(state, context) {
  return [...SCREENS[state.view](state, context), withdrawal(state, context)].filter(Boolean);
}

export function heading(text, tone) {
  return element("h1", { tabindex: "-1", class: tone }, text);
}

function busy(text) {
  return element("h1", { tabindex: "-1", class: "busy" }, text);
}

function step(words, state, key) {
  const mark = element("span", { class: "hidden" }, `${words.text(`step.${state}`)}: `);
  return element("li", { class: state }, mark, words.text(key));
}

function again(words, send) {
  return button(words.text("again"), () => send({ type: "retry" }));
}

function agreedTo(state, { words, settings }) {
  return element(
    "details",
    {},
    element("summary", {}, words.text("notice.again")),
    notice(words, state.status, settings),
  );
}

function withdrawal(state, { words, send }) {
  if (!mayWithdraw(state)) return null;
  if (!state.confirming) {
    return element(
      "div",
      { class: "withdrawal" },
      button(words.text("withdraw.button"), () => send({ type: "withdrawAsked" }), { class: "quiet-button" }),
    );
  }
  return element(
    "div",
    { class: "withdrawal", role: "group", "aria-labelledby": "withdraw-heading" },
    element("h2", { id: "withdraw-heading", tabindex: "-1" }, words.text("withdraw.heading")),
    paragraph(words.text("withdraw.text")),
    button(words.text("withdraw.confirm"), () => send({ type: "withdraw" }), { class: "danger" }),
    button(words.text("withdraw.leave"), () => send({ type: "withdrawLeft" })),
  );
}
