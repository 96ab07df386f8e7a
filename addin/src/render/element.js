// Builds elements. Text only ever becomes a text node.

/**
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `on…` members are listeners; false and undefined leave an attribute out
 * @param {...(Node|string|null|undefined|false)} children
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child || child === ""));
  return node;
}

export const paragraph = (text, attributes) => element("p", attributes, text);

/** @param {string} text @param {(event: Event) => void} onclick */
export function button(text, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, text);
}
