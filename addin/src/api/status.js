// The status answer of the consent API, checked before anything else sees it.

const STATES = new Set([
  "Asked",
  "NoticeOutdated",
  "Withdrawn",
  "Pending",
  "Subscribed",
  "Paused",
  "OutOfScope",
  "Trouble",
]);

/** States that say of a consent that it stands. */
const STANDING = new Set(["NoticeOutdated", "Pending", "Subscribed", "Trouble"]);

/**
 * @typedef {object} Status
 * @property {string} state
 * @property {{version: string, text: string|null}} notice
 * @property {{name: string, grantedAt: Date, noticeVersion: string}|null} consent
 * @property {Date|null} withdrawnAt
 * @property {string|null} reason
 * @property {boolean} selfServiceWithdrawal
 * @property {{keptAfterEndSeconds: number, onUnsubscribe: string, purgedBookings: string, privateSubject: string,
 *   writeBack: string, passedOn: boolean}} handling
 */

/** An answer that is not what the contract says. The message names the member and holds no value. */
export class ContractError extends Error {}

/**
 * @param {any} answer
 * @returns {Status}
 */
export function parseStatus(answer) {
  const state = text(answer?.state, "state");
  if (!STATES.has(state)) throw new ContractError("state");
  const { consent = null, withdrawnAt = null, reason = null, handling } = answer;
  if (STANDING.has(state) && !consent) throw new ContractError("consent");
  return {
    state,
    notice: {
      version: text(answer.notice?.version, "notice.version"),
      text: answer.notice.text === undefined ? null : text(answer.notice.text, "notice.text"),
    },
    consent: consent && {
      name: text(consent.name, "consent.name"),
      grantedAt: time(consent.grantedAt, "consent.grantedAt"),
      noticeVersion: text(consent.noticeVersion, "consent.noticeVersion"),
    },
    withdrawnAt: withdrawnAt && time(withdrawnAt, "withdrawnAt"),
    reason: reason && text(reason, "reason"),
    selfServiceWithdrawal: answer.selfServiceWithdrawal === true,
    handling: {
      keptAfterEndSeconds: seconds(handling?.keptAfterEndSeconds),
      onUnsubscribe: oneOf(handling, "onUnsubscribe", ["Purge", "KeepUntilEnd"]),
      purgedBookings: oneOf(handling, "purgedBookings", ["Keep", "Cancel"]),
      privateSubject: oneOf(handling, "privateSubject", ["Mask", "Store"]),
      writeBack: oneOf(handling, "writeBack", ["None", "Property"]),
      passedOn: oneOf(handling, "passedOn", [true, false]),
    },
  };
}

function text(value, member) {
  if (typeof value !== "string" || value === "") throw new ContractError(member);
  return value;
}

function time(value, member) {
  const date = new Date(text(value, member));
  if (Number.isNaN(date.getTime())) throw new ContractError(member);
  return date;
}

function seconds(value) {
  if (!Number.isSafeInteger(value) || value < 0) throw new ContractError("handling.keptAfterEndSeconds");
  return value;
}

// What is said about someone's data is never guessed.
function oneOf(handling, member, values) {
  const value = handling?.[member];
  if (!values.includes(value)) throw new ContractError(`handling.${member}`);
  return value;
}
