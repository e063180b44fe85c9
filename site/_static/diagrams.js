// Draws the page's diagrams in the colours of the page, again whenever light turns to dark.
(() => {
  const figures = [...document.querySelectorAll(".diagram pre.drawing")].map((place) => ({
    place,
    source: place.textContent,
  }));
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  // On a phone a chart that runs from left to right is too small to read: it runs downwards.
  const narrow = matchMedia("(max-width: 600px)");
  const turned = (source) =>
    narrow.matches ? source.replace(/^(\s*(?:flowchart|graph))\s+LR\b/, "$1 TD") : source;

  async function draw() {
    if (!colour("wb-box")) return; // light or dark is not decided yet
    mermaid.initialize({
      startOnLoad: false,
      theme: "base",
      flowchart: { useMaxWidth: true, htmlLabels: true },
      themeVariables: {
        darkMode: document.documentElement.dataset.theme === "dark",
        fontFamily: "var(--pst-font-family-base)",
        primaryColor: colour("wb-box"),
        primaryBorderColor: colour("pst-color-primary"),
        primaryTextColor: colour("pst-color-text-base"),
        lineColor: colour("pst-color-text-muted"),
        edgeLabelBackground: colour("pst-color-background"),
        textColor: colour("pst-color-text-base"),
      },
    });
    for (const [number, { place, source }] of figures.entries()) {
      const { svg } = await mermaid.render(`diagram-${number}`, turned(source));
      place.innerHTML = svg;
      // The words of the diagram stand in the label of its frame.
      place.firstElementChild.setAttribute("aria-hidden", "true");
      place.dataset.drawn = document.documentElement.dataset.theme;
    }
  }

  let last = Promise.resolve();
  const again = () => (last = last.then(draw));
  new MutationObserver(again).observe(document.documentElement, {
    attributeFilter: ["data-theme"],
  });
  narrow.addEventListener("change", again);
  again();
})();
