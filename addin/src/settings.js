// The settings that the server filled into the page.

const NAMES = [
  "api",
  "client-id",
  "authority",
  "token-scope",
  "organisation",
  "support-url",
  "privacy-url",
  "add-in-version",
];

/** @param {Document} document */
export function readSettings(document) {
  const [url, clientId, authority, tokenScope, organisation, supportUrl, privacyUrl, addInVersion] = NAMES.map(
    (name) => {
      const content = document.querySelector(`meta[name="roomkeeper-${name}"]`)?.getAttribute("content");
      if (!content) throw new Error(`the page lacks roomkeeper-${name}`);
      return content;
    },
  );
  return { url, clientId, authority, tokenScope, organisation, supportUrl, privacyUrl, addInVersion };
}
