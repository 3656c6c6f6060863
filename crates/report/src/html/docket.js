(() => {
  const form = document.getElementById("filter");
  const body = document.querySelector(".docket tbody");
  const apply = () => {
    const { verdict, words } = form.elements;
    const asked = words.value.trim().toLowerCase();
    let shown = 0;
    for (const row of body.rows) {
      row.hidden =
        Boolean(verdict.value && row.dataset.verdict !== verdict.value) ||
        !row.textContent.toLowerCase().includes(asked);
      shown += row.hidden ? 0 : 1;
    }
    document.getElementById("shown").textContent = `${shown} / ${body.rows.length}`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());

  const keys = {
    verdict: (row) => Number(row.dataset.rank),
    missing: (row) => Number(row.dataset.missing),
    name: (row) => row.dataset.name,
  };
  for (const button of all("button[data-sort]"))
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const down = head.getAttribute("aria-sort") !== "ascending";
      for (const other of all("th[aria-sort]")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const key = keys[button.dataset.sort];
      const order = (a, b) => {
        const [one, two] = [key(a), key(b)];
        return typeof one === "string" ? one.localeCompare(two) : one - two;
      };
      body.append(...[...body.rows].sort((a, b) => (down ? order(a, b) : order(b, a))));
    });
})();
