// Where the user's token comes from: nested app authentication, then Office's own single sign-on.

import { AuthError } from "./auth-error.js";

/**
 * @param {object} parts
 * @param {any} parts.office
 * @param {() => (how: {fresh: boolean, interactive: boolean}) => Promise<string>} parts.nestedApp
 * @param {(auth: any) => (how: {fresh: boolean, interactive: boolean}) => Promise<string>} parts.officeSso
 */
export function createTokenSource({ office, nestedApp, officeSso }) {
  const supports = (set, version) => Boolean(office.context?.requirements?.isSetSupported?.(set, version));
  const ways = [];
  if (supports("NestedAppAuth", "1.1")) ways.push(nestedApp());
  if (supports("IdentityAPI", "1.3") && office.auth?.getAccessToken) ways.push(officeSso(office.auth));

  return async function token(how) {
    let last = new AuthError("unsupported");
    while (ways.length > 0) {
      try {
        return await ways[0](how);
      } catch (error) {
        if (!(error instanceof AuthError) || error.reason !== "unsupported") throw error;
        last = error;
        // A way that this Outlook does not offer after all is not tried again.
        ways.shift();
      }
    }
    throw last;
  };
}
