// Office around the page: when it is ready, which language and which colours it has.

/** Longest wait for Office to say that it is ready. */
const READY = 10_000;

/**
 * Resolves to Office once it is ready, or to null outside of it.
 * @param {Window & {Office?: any}} window
 */
export async function officeReady(window, timeout = READY) {
  const office = window.Office;
  if (!office?.onReady) return null;
  const late = new Promise((resolve) => setTimeout(resolve, timeout, null));
  const info = await Promise.race([office.onReady(), late]);
  return info?.host ? office : null;
}

/**
 * Language tags, best first.
 * @param {any} office
 * @param {Navigator} navigator
 */
export function languages(office, navigator) {
  return [office?.context?.displayLanguage, ...(navigator.languages ?? [])].filter(Boolean);
}

/**
 * Follows the theme of Office where it tells one; otherwise the style follows that of the system.
 * @param {any} office
 * @param {HTMLElement} root
 */
export function followTheme(office, root) {
  const theme = office?.context?.officeTheme;
  const background = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(theme?.bodyBackgroundColor ?? "");
  if (typeof theme?.isDarkTheme === "boolean") root.dataset.theme = theme.isDarkTheme ? "dark" : "light";
  else if (background) root.dataset.theme = luminance(background.slice(1)) < 0.5 ? "dark" : "light";
}

function luminance(channels) {
  const [red, green, blue] = channels.map((channel) => parseInt(channel, 16) / 255);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
