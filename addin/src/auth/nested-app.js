// Nested app authentication: Outlook itself gets the token for the page.

import { createNestablePublicClientApplication, InteractionRequiredAuthError } from "@azure/msal-browser";

import { AuthError } from "./auth-error.js";

const CANCELLED = new Set(["user_canceled", "user_cancelled", "access_denied"]);
const UNREACHABLE = new Set(["no_network_connectivity", "post_request_failed", "network_error"]);
const UNSUPPORTED = new Set(["nested_app_auth_bridge_disabled"]);

/**
 * @param {object} settings
 * @param {string} settings.clientId
 * @param {string} settings.authority
 * @param {string} settings.tokenScope
 */
export function nestedApp({ clientId, authority, tokenScope }) {
  let application;

  async function open() {
    application ??= await createNestablePublicClientApplication({
      auth: { clientId, authority },
      cache: { cacheLocation: "memoryStorage" },
    });
    // Without the bridge MSAL would open windows of its own.
    if (window.nestedAppAuthBridge === undefined) throw new AuthError("unsupported");
    return application;
  }

  return async function token({ fresh, interactive }) {
    const request = { scopes: [tokenScope], forceRefresh: fresh };
    try {
      const msal = await open();
      const account = msal.getActiveAccount() ?? undefined;
      try {
        return (await msal.acquireTokenSilent({ ...request, account })).accessToken;
      } catch (error) {
        if (!interactive || outcome(error) !== "interaction") throw error;
        return (await msal.acquireTokenPopup({ ...request, account })).accessToken;
      }
    } catch (error) {
      if (error instanceof AuthError) throw error;
      const reason = outcome(error);
      // Where asking the person did not help either, the next way is tried.
      throw new AuthError(reason === "interaction" && interactive ? "unsupported" : reason, error);
    }
  };
}

function outcome(error) {
  if (error instanceof InteractionRequiredAuthError) return "interaction";
  if (CANCELLED.has(error?.errorCode)) return "cancelled";
  if (UNREACHABLE.has(error?.errorCode)) return "unreachable";
  return UNSUPPORTED.has(error?.errorCode) ? "unsupported" : "interaction";
}
