// Small repairs of the theme for people who use a screen reader or a keyboard. The theme's own markup
// gives some controls a name that differs from the words on them, and leaves the logo outside a landmark.
(function () {
  "use strict";
  function each(selector, repair) {
    document.querySelectorAll(selector).forEach(repair);
  }
  function repair() {
    each('button.search-button[aria-label], button.search-button-field[aria-label]', function (button) {
      button.setAttribute("aria-label", "Search");
    });
    each('summary[aria-label="Toggle hidden content"]', function (summary) {
      summary.removeAttribute("aria-label");
    });
    each("nav.bd-links li > details > summary", function (summary) {
      var link = summary.closest("li").querySelector("a");
      summary.setAttribute("aria-label", "Pages under " + (link ? link.textContent.trim() : "this one"));
    });
    each(".bd-sidebar-primary .sidebar-primary-items__start", function (block) {
      block.setAttribute("role", "navigation");
      block.setAttribute("aria-label", "Book");
    });
    each("[role=doc-bibliography], [role=list] [role=doc-biblioentry], [role=doc-biblioentry]", function (entry) {
      entry.removeAttribute("role");
    });
    each("div.citation-list[role], dl.citation[role]", function (list) {
      list.removeAttribute("role");
    });
    // names of files and tests break after a slash, a colon or an underscore, and elsewhere only if they must
    each(".vae-faults code .pre", function (name) {
      name.innerHTML = name.innerHTML.replace(/(::|[/_])/g, "$1<wbr>");
    });
    // the same for names in the cells of a table, so that the other columns keep their room
    each("td code.literal .pre", function (name) {
      if (!name.childElementCount) name.innerHTML = name.innerHTML.replace(/_(?=[^_<])/g, "_<wbr>");
    });
    each("h1 code.literal .pre, .prev-next-title code.literal .pre", function (name) {
      if (!name.childElementCount) name.innerHTML = name.innerHTML.replace(/\./g, ".<wbr>");
    });
    // a number may part before its ±, and not between the ± and the standard error
    each(".pasted-text", function (number) {
      if (!number.childElementCount) number.textContent = number.textContent.replace(/± /g, "±\u00a0");
    });
    // a full stop, a comma or a hyphen stays with the formula before it
    each("span.math", function (formula) {
      var next = formula.nextSibling;
      var mark = next && next.nodeType === Node.TEXT_NODE ? /^[.,;:!?)’”-]+/.exec(next.data) : null;
      if (!mark) return;
      next.splitText(mark[0].length);
      var together = document.createElement("span");
      together.className = "vae-together";
      formula.before(together);
      together.append(formula, next);
    });
    // a displayed formula that is a little too wide for a phone is set a little smaller, and scrolls if it must
    document.fonts.ready.then(function () {
      each("div.math .katex-html", function (box) {
        var display = box.closest(".katex-display");
        var share = box.clientWidth / box.scrollWidth;
        if (!display || share >= 1) return;
        display.style.fontSize = Math.max(0.8, 0.99 * share) * parseFloat(getComputedStyle(display).fontSize) + "px";
        if (box.scrollWidth > box.clientWidth + 1) box.setAttribute("tabindex", "0");
      });
    });
    // a formula, a table or a listing that is wider than the screen scrolls; so it must be reachable by key
    each("div.math, div.highlight > pre, .pst-scrollable-table-container", function (box) {
      if (box.scrollWidth > box.clientWidth + 1) box.setAttribute("tabindex", "0");
    });
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", repair);
  else repair();
})();
