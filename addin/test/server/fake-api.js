// The consent API as the page sees it, with an answer to each request that a test sets.

/** A status answer. @param {string} state @param {Record<string, any>} [other] */
export function statusAnswer(state, other = {}) {
  const stands = ["NoticeOutdated", "Pending", "Subscribed", "Trouble"].includes(state);
  return {
    state,
    notice: { version: "2026-01" },
    ...(stands && {
      consent: {
        name: "consent-1",
        grantedAt: "2026-03-02T09:30:00Z",
        noticeVersion: state === "NoticeOutdated" ? "2025-07" : "2026-01",
      },
    }),
    ...(state === "Withdrawn" && { withdrawnAt: "2026-04-01T12:00:00Z" }),
    selfServiceWithdrawal: false,
    handling: {
      keptAfterEndSeconds: 0,
      onUnsubscribe: "Purge",
      purgedBookings: "Keep",
      privateSubject: "Mask",
      writeBack: "None",
      passedOn: true,
    },
    ...other,
  };
}

export class FakeApi {
  /** Requests so far: method, body, authorization, language. */
  requests = [];
  /** Answers to GET, one after the other; the last one stays. */
  statuses = [statusAnswer("Asked")];
  grant = { code: 201, body: { consent: "consent-1", grantedAt: "2026-03-02T09:30:00Z" } };
  withdrawal = { code: 204 };
  /** True: connections are cut. */
  down = false;
  /** Milliseconds before an answer. */
  delay = 0;
  /** A token that is refused. */
  refusedToken = null;

  /** @param {import("node:http").IncomingMessage} request @param {import("node:http").ServerResponse} response */
  async handle(request, response) {
    let body = "";
    for await (const chunk of request) body += chunk;
    if (this.down) {
      response.destroy();
      return;
    }
    const { authorization = "" } = request.headers;
    const language = new URL(request.url, "http://fake").searchParams.get("language");
    this.requests.push({ method: request.method, body: body && JSON.parse(body), authorization, language });
    if (this.delay) await new Promise((resolve) => setTimeout(resolve, this.delay));
    if (!authorization.startsWith("Bearer ") || authorization === `Bearer ${this.refusedToken}`) {
      answer(response, { code: 401, body: { error: { code: "Unauthorized" } } });
    } else if (request.method === "GET") {
      const next = this.statuses.length > 1 ? this.statuses.shift() : this.statuses[0];
      answer(response, next.code ? next : { code: 200, body: next });
    } else if (request.method === "POST") {
      answer(response, this.grant);
    } else if (request.method === "DELETE") {
      answer(response, this.withdrawal);
    } else {
      answer(response, { code: 405 });
    }
  }
}

function answer(response, { code, body, headers = {} }) {
  response.writeHead(code, {
    "cache-control": "no-store",
    ...(body !== undefined && { "content-type": "application/json" }),
    ...headers,
  });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}
