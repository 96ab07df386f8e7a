// Single sign-on of Office, for versions of Outlook without nested app authentication.

import { AuthError } from "./auth-error.js";

/** Codes of getAccessToken, as documented under "Troubleshoot single sign-on in Office Add-ins". */
const REASONS = {
  13001: "interaction",
  13002: "cancelled",
  13003: "denied",
  13005: "interaction",
  13006: "unreachable",
  13008: "unreachable",
  13010: "unreachable",
};

/** @param {{getAccessToken: (options: object) => Promise<string>}} auth of Office */
export function officeSso(auth) {
  return async function token({ fresh, interactive }) {
    try {
      return await auth.getAccessToken({
        allowSignInPrompt: interactive,
        allowConsentPrompt: interactive,
        forMSGraphAccess: false,
        forceRefresh: fresh,
      });
    } catch (error) {
      throw new AuthError(REASONS[error?.code] ?? "unsupported", error);
    }
  };
}
