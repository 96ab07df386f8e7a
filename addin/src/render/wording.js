// Texts in the person's language, with dates and durations as they are written there.

import de from "../texts/de.json" with { type: "json" };
import en from "../texts/en.json" with { type: "json" };

const LANGUAGES = { en, de };

/** The language of the texts that fits best. @param {string[]} wanted language tags, best first */
export function chooseLanguage(wanted) {
  const known = wanted.map((tag) => String(tag).toLowerCase().split("-")[0]);
  return known.find((language) => Object.hasOwn(LANGUAGES, language)) ?? "en";
}

/**
 * @param {string} language one that `chooseLanguage` gives
 * @param {string[]} [regions] language tags by which dates are written, best first
 */
export function wording(language, regions = []) {
  const texts = LANGUAGES[language];
  const locale = regions.find((tag) => tag.toLowerCase().split("-")[0] === language) ?? language;
  const dates = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short" });

  return {
    language,
    /** One text, with `{name}` replaced. */
    text(key, values = {}) {
      return fill(pick(texts, key), values);
    },
    list: (key) => pick(texts, key),
    date: (date) => dates.format(date),
    duration: (seconds) => duration(locale, seconds),
  };
}

function pick(texts, key) {
  if (!Object.hasOwn(texts, key)) throw new TypeError(`no text ${key}`);
  return texts[key];
}

function fill(text, values) {
  return text.replace(/\{([a-z]+)\}/gi, (_, name) => {
    if (values[name] === undefined) throw new TypeError(`no value for {${name}}`);
    return values[name];
  });
}

const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

function duration(locale, seconds) {
  let rest = seconds;
  const parts = [];
  for (const [unit, length] of UNITS) {
    const count = Math.floor(rest / length);
    rest -= count * length;
    if (count === 0) continue;
    parts.push(new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: "long" }).format(count));
  }
  return new Intl.ListFormat(locale, { type: "unit", style: "long" }).format(parts);
}
