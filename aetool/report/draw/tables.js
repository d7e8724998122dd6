// Columns are sorted by a press on their heading; a table wider than its place says that it scrolls.
// Without JavaScript the tables are whole, in the order of the file.
for (const table of document.querySelectorAll("table:not(.matrix)")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = (a, b) => a - b || String(a).localeCompare(String(b), undefined, { numeric: true });
      const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b)) * (down ? -1 : 1));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      table.tBodies[0].append(...rows);
    });
  });
}
for (const region of document.querySelectorAll(".scroll")) {
  const hint = document.createElement("p");
  hint.className = "wide";
  hint.textContent = "More columns: scroll sideways";
  hint.hidden = true;
  region.before(hint);
  new ResizeObserver(() => (hint.hidden = region.scrollWidth <= region.clientWidth + 1)).observe(region);
}
// Folded parts are printed too.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    addEventListener("afterprint", () => (folded.open = false), { once: true });
  }
});
