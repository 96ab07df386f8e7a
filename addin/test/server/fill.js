// Fills placeholders in, as the webhook server does: the rules are in README.md, the cases in fill-cases.json.

import { extname } from "node:path";

const ESCAPES = {
  ".html": markup,
  ".xml": markup,
  ".json": (text) => JSON.stringify(text).slice(1, -1),
  ".txt": plain,
};

/** Whether a file of that name is a template. @param {string} name */
export function isTemplate(name) {
  return Object.hasOwn(ESCAPES, extname(name));
}

/**
 * @param {string} name of the file; its extension decides how values are escaped
 * @param {string} text
 * @param {Record<string, string>} settings
 */
export function fill(name, text, settings) {
  const escape = ESCAPES[extname(name)];
  return text.replace(/\{\{([A-Za-z]+)\}\}/g, (_, setting) => {
    if (!Object.hasOwn(settings, setting)) throw new Error(`${name}: no setting ${setting}`);
    return escape(settings[setting]);
  });
}

function markup(text) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => entities[character]);
}

// A header: whatever could end a directive or the line is refused.
function plain(text) {
  if (/[;,"'\\]|[^\x20-\x7e]/.test(text)) throw new Error("a value cannot stand in a header");
  return text;
}
