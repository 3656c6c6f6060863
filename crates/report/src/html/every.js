"use strict";
// What every page does: the language of the reader, and nothing folded on paper.
const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const speak = (language) => {
  root.lang = language;
  for (const one of all("[data-ko]")) {
    if (!one.dataset.en) one.dataset.en = one.getAttribute("aria-label");
    one.setAttribute("aria-label", one.dataset[language]);
  }
  for (const one of all("option[data-text-ko]"))
    one.textContent = language === "ko" ? one.dataset.textKo : one.dataset.textEn;
  for (const one of all("button[data-language]"))
    one.setAttribute("aria-pressed", String(one.dataset.language === language));
};
for (const one of all("button[data-language]")) one.addEventListener("click", () => speak(one.dataset.language));
speak(root.lang);

let folded = [];
addEventListener("beforeprint", () => {
  folded = all("details:not([open])");
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of folded) one.open = false;
});
