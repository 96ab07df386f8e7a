// A stand-in for Office's script and for the host behind it. What it does is set in the query of the page:
// host (none), auth (naa, sso, none), signIn (needed, cancelled), lang, theme (dark, light).
(() => {
  const wanted = new URLSearchParams(window.location.search);
  const auth = wanted.get("auth") ?? "naa";
  const signIn = wanted.get("signIn");
  const dark = { dark: true, light: false }[wanted.get("theme")];
  window.stub = { tokens: 0, interactive: 0 };

  const base64 = (value) => btoa(JSON.stringify(value)).replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_");
  const account = {
    environment: "login.microsoftonline.com",
    homeAccountId: "u.t",
    localAccountId: "u",
    tenantId: "t",
    username: "user1@contoso.example",
  };
  const idToken = `${base64({ alg: "none" })}.${base64({ oid: "u", tid: "t", sub: "u", preferred_username: account.username })}.s`;

  function token() {
    window.stub.tokens += 1;
    return `${auth}-token-${window.stub.tokens}`;
  }

  function bridgeAnswer({ method }) {
    if (method === "GetInitContext") {
      return { success: true, initContext: { sdkName: "stub", sdkVersion: "1", accountContext: account, capabilities: {} } };
    }
    const interactive = method === "GetTokenPopup";
    if (interactive) window.stub.interactive += 1;
    if (signIn && !interactive) return { success: false, error: { status: "USER_INTERACTION_REQUIRED" } };
    if (signIn === "cancelled") return { success: false, error: { status: "USER_CANCEL" } };
    const grant = { access_token: token(), id_token: idToken, expires_in: 3600, scope: "access_as_user" };
    return { success: true, token: grant, account };
  }

  if (auth === "naa") {
    const listeners = [];
    window.nestedAppAuthBridge = {
      addEventListener: (_, listener) => listeners.push(listener),
      removeEventListener: () => {},
      postMessage(text) {
        const request = JSON.parse(text);
        const answer = { messageType: "NestedAppAuthResponse", requestId: request.requestId, ...bridgeAnswer(request) };
        setTimeout(() => listeners.forEach((listener) => listener(JSON.stringify(answer))));
      },
    };
  }

  window.Office = {
    onReady: async () => ({ host: wanted.get("host") === "none" ? null : "Outlook", platform: "OfficeOnline" }),
    context: {
      displayLanguage: wanted.get("lang") ?? "en-US",
      officeTheme: dark === undefined ? undefined : { isDarkTheme: dark },
      requirements: {
        isSetSupported: (set) => ({ NestedAppAuth: auth === "naa", IdentityAPI: auth === "sso" })[set] ?? false,
      },
    },
    auth: {
      async getAccessToken({ allowSignInPrompt }) {
        if (allowSignInPrompt) window.stub.interactive += 1;
        if (signIn && !allowSignInPrompt) throw Object.assign(new Error("sign in"), { code: 13001 });
        if (signIn === "cancelled") throw Object.assign(new Error("left"), { code: 13002 });
        return token();
      },
    },
  };
})();
