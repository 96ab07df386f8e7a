/** Why there is no token. */
export class AuthError extends Error {
  /**
   * @param {"interaction"|"cancelled"|"unsupported"|"denied"|"unreachable"} reason
   *   interaction: a window must be opened, for which the person is asked first
   * @param {unknown} [cause]
   */
  constructor(reason, cause) {
    super(`no token: ${reason}`, { cause });
    this.reason = reason;
  }

  /** The event of the state machine. */
  event() {
    if (this.reason === "denied") return { type: "refused" };
    if (this.reason === "unreachable") return { type: "unreachable", after: 0 };
    return { type: "signInNeeded", reason: this.reason };
  }
}
