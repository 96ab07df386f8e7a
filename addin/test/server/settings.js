// Settings as an installation has them.

/** @param {Record<string, string>} [other] */
export function exampleSettings(other = {}) {
  return {
    publicUrl: "https://roomkeeper.contoso.example",
    publicOrigin: "https://roomkeeper.contoso.example",
    publicHost: "roomkeeper.contoso.example",
    namespace: "contoso",
    scope: "contoso",
    tenantId: "7f1d0cb7-93b9-405a-8dad-c21703b7af18",
    loginHost: "login.microsoftonline.com",
    clientId: "5a3c1e02-6f0d-4e57-9c1b-0c2d4f7a9b10",
    appIdUri: "api://roomkeeper.contoso.example/5a3c1e02-6f0d-4e57-9c1b-0c2d4f7a9b10",
    permission: "access_as_user",
    addInId: "c1f4f0de-2b0a-4b0e-8a1c-5d3a8f4f7a21",
    displayName: "Room bookings",
    organisation: "Contoso & Söhne",
    supportUrl: "https://support.contoso.example/rooms",
    privacyUrl: "https://contoso.example/privacy",
    termsUrl: "https://contoso.example/terms",
    officeScriptUrl: "https://appsforoffice.microsoft.com/lib/1/hosted/office.js",
    officeScriptOrigin: "https://appsforoffice.microsoft.com",
    hostOrigins: "https://outlook.office.com https://outlook.office365.com https://outlook.cloud.microsoft",
    ...other,
  };
}
