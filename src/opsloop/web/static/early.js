// Before anything is drawn: the chosen theme, and a language that Intl knows (under LANG=C the
// browser names one that it then refuses).
(function () {
  try {
    var theme = localStorage.getItem("theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch (refused) { /* a browser that keeps nothing */ }
  try {
    new Intl.NumberFormat(navigator.language);
  } catch (unknown) {
    Object.defineProperty(navigator, "language", { value: "en-US" });
  }
})();
