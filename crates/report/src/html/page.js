(() => {
  const form = document.getElementById("filter");
  if (form) {
    const rows = all("[data-finding]");
    const apply = () => {
      const { condition, grade, part } = form.elements;
      const wanted = (row) =>
        (!condition.value || row.dataset.condition === condition.value) &&
        (!grade.value || row.dataset.grade === grade.value) &&
        (!part.value || row.dataset.part === part.value);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !wanted(row);
        if (!row.hidden) shown += row.dataset.finding === "sentence" ? 1 : 0;
      }
      const chosen = condition.value || grade.value || part.value;
      for (const kind of all(".kind")) kind.hidden = !all("[data-finding=sentence]", kind).some((row) => !row.hidden);
      for (const one of all("section[data-section]"))
        one.hidden = Boolean(chosen) && !all(".kind", one).some((kind) => !kind.hidden);
      document.getElementById("shown").textContent = String(shown);
    };
    form.addEventListener("change", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  const reveal = () => {
    let one = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();

  for (const one of all("button[data-copy]"))
    one.addEventListener("click", async () => {
      const from = document.getElementById(one.dataset.copy);
      const words = all("[data-line]", from).length
        ? all("[data-line]", from).map((line) => line.innerText.trim()).join("\n")
        : from.innerText.trim();
      try {
        await navigator.clipboard.writeText(words);
        one.classList.add("done");
      } catch {
        getSelection().selectAllChildren(from);
      }
    });
})();
