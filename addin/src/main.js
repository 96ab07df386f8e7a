// Puts the parts together.

import { createApiClient } from "./api/client.js";
import { nestedApp } from "./auth/nested-app.js";
import { officeSso } from "./auth/office-sso.js";
import { createTokenSource } from "./auth/token-source.js";
import { followTheme, languages, officeReady } from "./office/host.js";
import { createPage } from "./render/page.js";
import { chooseLanguage, wording } from "./render/wording.js";
import { readSettings } from "./settings.js";
import { createController } from "./state/controller.js";
import { initial, next } from "./state/machine.js";

async function main() {
  const settings = readSettings(document);
  const office = await officeReady(window);
  const tags = languages(office, navigator);
  const words = wording(chooseLanguage(tags), tags);
  followTheme(office, document.documentElement);

  if (!office) {
    createPage(document, { words, settings }, () => {})(
      next(initial(), { type: "failed", reason: "office" }),
    );
    return;
  }

  const client = createApiClient({
    url: settings.url,
    addInVersion: settings.addInVersion,
    language: words.language,
    token: createTokenSource({ office, nestedApp: () => nestedApp(settings), officeSso }),
  });
  const how = (state, signal) => ({ interactive: state.interactive, signal });
  const look = (state, signal) => client.status(how(state, signal));
  const controller = createController({
    work: {
      load: look,
      poll: look,
      grant: (state, signal) => client.grant(state.status.notice.version, how(state, signal)),
      withdraw: (state, signal) => client.withdraw(how(state, signal)),
    },
    show: createPage(document, { words, settings }, (event) => controller.send(event)),
  });
  window.addEventListener("online", () => {
    if (controller.state().view === "offline") controller.send({ type: "retry" });
  });
  controller.start();
}

main();
