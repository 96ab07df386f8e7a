import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { AuthError } from "../../src/auth/auth-error.js";
import { officeSso } from "../../src/auth/office-sso.js";
import { createTokenSource } from "../../src/auth/token-source.js";

function office(...sets) {
  return {
    context: { requirements: { isSetSupported: (set) => sets.includes(set) } },
    auth: { getAccessToken: async () => "sso" },
  };
}

const how = { fresh: false, interactive: false };
const fails = (reason) => async () => {
  throw new AuthError(reason);
};

describe("where the token comes from", () => {
  const source = (office_, naa) => createTokenSource({ office: office_, nestedApp: () => naa, officeSso });

  test("nested app authentication first", async () => {
    assert.equal(await source(office("NestedAppAuth", "IdentityAPI"), async () => "naa")(how), "naa");
  });

  test("single sign-on of Office where there is no other, or it does not work after all", async () => {
    assert.equal(await source(office("IdentityAPI"), fails("interaction"))(how), "sso");
    const token = source(office("NestedAppAuth", "IdentityAPI"), fails("unsupported"));
    assert.equal(await token(how), "sso");
    assert.equal(await token(how), "sso");
  });

  test("a way that only asks for a sign-in is not passed over", async () => {
    const token = source(office("NestedAppAuth", "IdentityAPI"), fails("interaction"));
    await assert.rejects(token(how), { reason: "interaction" });
  });

  test("none", async () => {
    await assert.rejects(source(office(), fails("interaction"))(how), { reason: "unsupported" });
  });
});

describe("codes of Office", () => {
  for (const [code, reason] of [
    [13001, "interaction"],
    [13002, "cancelled"],
    [13003, "denied"],
    [13005, "interaction"],
    [13006, "unreachable"],
    [13000, "unsupported"],
    [13012, "unsupported"],
    [undefined, "unsupported"],
  ]) {
    test(String(code), async () => {
      const token = officeSso({ getAccessToken: async () => Promise.reject(Object.assign(new Error(), { code })) });
      await assert.rejects(token(how), { reason });
    });
  }

  test("windows are opened only when the person asked", async () => {
    const asked = [];
    const token = officeSso({ getAccessToken: async (options) => asked.push(options) });
    await token({ fresh: false, interactive: false });
    await token({ fresh: true, interactive: true });
    assert.deepEqual(
      asked.map((options) => [options.allowSignInPrompt, options.allowConsentPrompt, options.forceRefresh]),
      [
        [false, false, false],
        [true, true, true],
      ],
    );
  });
});
