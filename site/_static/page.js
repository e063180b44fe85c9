// A formula or a diagram that is wider than the page scrolls in its own box. The arrow keys can
// scroll a box only if it can be focused; one that fits is no stop for the keyboard. The theme
// does the same for code and tables.
(() => {
  const boxes = document.querySelectorAll("div.math, .diagram");
  const mark = (box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };
  const observer = new ResizeObserver((entries) => entries.forEach(({ target }) => mark(target)));
  for (const box of boxes) observer.observe(box);
  window.MathJax?.startup?.promise?.then(() => boxes.forEach(mark));
})();

// Paper is white: a page in dark colours is printed in light ones.
(() => {
  const page = document.documentElement.dataset;
  let before;
  addEventListener("beforeprint", () => {
    before = page.theme;
    page.theme = "light";
  });
  addEventListener("afterprint", () => {
    page.theme = before;
  });
})();
