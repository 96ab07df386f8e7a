// A headless Chromium behind WebDriver.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { Browser, Builder, By, logging } from "selenium-webdriver";
import { Options, ServiceBuilder } from "selenium-webdriver/chrome.js";

const OUTPUT = fileURLToPath(new URL("../../test-output/", import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const DRIVER = process.env.CHROMEDRIVER ?? "/usr/bin/chromedriver";

/** The width of a task pane at its narrowest. */
export const NARROW = 320;

const DEADLINE = 15_000;

export async function openBrowser() {
  const options = new Options();
  options.setChromeBinaryPath(CHROMIUM);
  options.addArguments("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-US");
  const preferences = new logging.Preferences();
  preferences.setLevel(logging.Type.BROWSER, logging.Level.ALL);
  options.setLoggingPrefs(preferences);
  const driver = await new Builder()
    .forBrowser(Browser.CHROME)
    .setChromeOptions(options)
    .setChromeService(new ServiceBuilder(DRIVER))
    .build();
  await mkdir(OUTPUT, { recursive: true });
  const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  const command = (name, parameters) => driver.sendDevToolsCommand(name, parameters);

  return {
    driver,
    command,
    close: () => driver.quit(),

    /** Opens the page in a pane of that width, in the colours of that system. */
    async open(url, { width = NARROW, dark = false } = {}) {
      await command("Emulation.setDeviceMetricsOverride", {
        width,
        height: 700,
        deviceScaleFactor: 1,
        mobile: false,
      });
      const value = dark ? "dark" : "light";
      await command("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
      await driver.get(url);
    },

    /** Waits until the page shows that view. */
    async shows(view) {
      const find = () => driver.findElements(By.css(`main[data-view="${view}"]`));
      const seen = await driver.wait(async () => (await find()).length > 0, DEADLINE).catch(() => false);
      if (!seen) {
        const text = await driver.findElement(By.css("body")).getText();
        throw new Error(`not ${view}, but: ${text}`);
      }
    },

    /** Waits until the condition holds. */
    until: (condition, message) => driver.wait(condition, DEADLINE, message),

    find: (css) => driver.findElement(By.css(css)),
    text: async (css = "main") => (await driver.findElement(By.css(css))).getText(),
    evaluate: (script, ...values) => driver.executeScript(script, ...values),

    /** What a screen reader was told last. */
    announced: () => driver.executeScript("return document.querySelector('#announcer').textContent"),

    /** The button with that text. */
    button: (text) => driver.findElement(By.xpath(`//button[normalize-space()="${text}"]`)),

    /** What the browser stopped for the content security policy since the last time, as lines. */
    async stopped() {
      const entries = await driver.manage().logs().get(logging.Type.BROWSER);
      return entries.map(({ message }) => message).filter((message) => /Content.Security.Policy/i.test(message));
    },

    /** What axe finds, as lines. */
    async violations() {
      await driver.executeScript(axe);
      const found = await driver.executeAsyncScript(
        "const done = arguments[0]; window.axe.run(document, {resultTypes: ['violations']}).then(({violations}) => done(violations), (error) => done([{id: String(error), nodes: []}]));",
      );
      return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    },

    /** The whole page as a picture. */
    async picture(name) {
      const height = await driver.executeScript("return document.documentElement.scrollHeight");
      const { data } = await driver.sendAndGetDevToolsCommand("Page.captureScreenshot", {
        captureBeyondViewport: true,
        clip: { x: 0, y: 0, width: await driver.executeScript("return window.innerWidth"), height, scale: 1 },
      });
      await writeFile(`${OUTPUT}${name}.png`, Buffer.from(data, "base64"));
    },
  };
}
