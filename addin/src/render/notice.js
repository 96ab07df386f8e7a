// What the person is told before they decide: what is read, how long it is kept, how to end it.

import { element, paragraph } from "./element.js";

/**
 * @param {ReturnType<typeof import("./wording.js").wording>} words
 * @param {import("../api/status.js").Status} status
 * @param {{organisation: string, supportUrl: string, privacyUrl: string}} settings
 */
export function notice(words, status, settings) {
  const { handling } = status;
  const { organisation } = settings;
  const kept =
    handling.keptAfterEndSeconds === 0
      ? words.text("notice.keep.end")
      : words.text("notice.keep.after", { duration: words.duration(handling.keptAfterEndSeconds) });

  return element(
    "div",
    { class: "notice" },
    section(
      words.text("notice.read.heading"),
      paragraph(words.text("notice.read.booked")),
      element("ul", {}, ...words.list("notice.read.fields").map((field) => element("li", {}, field))),
      handling.passedOn && paragraph(words.text("notice.read.passedOn", { organisation })),
      paragraph(words.text("notice.read.other")),
      paragraph(words.text("notice.read.never"), { class: "strong" }),
      paragraph(words.text(`notice.read.private.${handling.privateSubject}`)),
      paragraph(words.text(`notice.write.${handling.writeBack}`)),
    ),
    section(
      words.text("notice.keep.heading"),
      paragraph(kept),
      paragraph(words.text(`notice.keep.${handling.onUnsubscribe}`)),
      handling.onUnsubscribe === "Purge" &&
        paragraph(words.text(`notice.keep.bookings.${handling.purgedBookings}`)),
      paragraph(words.text("notice.keep.register")),
    ),
    section(
      words.text("notice.end.heading"),
      paragraph(words.text(status.selfServiceWithdrawal ? "notice.end.self" : "notice.end.support")),
      links(words, settings),
    ),
    status.notice.text &&
      section(
        words.text("notice.own.heading", { organisation }),
        ...status.notice.text
          .split(/\n\s*\n/)
          .filter((part) => part.trim())
          .map((part) => paragraph(part.trim(), { class: "own" })),
      ),
    paragraph(words.text("notice.version", { version: status.notice.version }), { class: "quiet" }),
  );
}

export function links(words, { supportUrl, privacyUrl }) {
  const link = (href, key) =>
    element("a", { href, target: "_blank", rel: "noopener noreferrer" }, words.text(key));
  return element(
    "p",
    { class: "links" },
    link(supportUrl, "notice.support"),
    " · ",
    link(privacyUrl, "notice.privacy"),
  );
}

function section(heading, ...content) {
  return element("section", {}, element("h2", {}, heading), ...content);
}
