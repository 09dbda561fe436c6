// The table of sites can be sorted by its headings and, where it is long, filtered; without this script it is a plain table.
(() => {
  const table = document.getElementById("index"), body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const value = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : column === 1 ? cell.textContent.trim().toLowerCase() : null;
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      // Words and sites begin with the first, numbers with the largest; a second click turns the order round.
      const first = column < 2 ? "ascending" : "descending", second = column < 2 ? "descending" : "ascending";
      const order = head.ariaSort === first ? second : first, sign = order === "ascending" ? 1 : -1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      rows.sort((a, b) => {
        const x = value(a, column), y = value(b, column);
        if (x === null || y === null) return (x === null) - (y === null); // what has no number stays below
        return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
      });
      body.append(...rows);
    };
  });
  if (rows.length < 20) return;
  const box = document.createElement("input");
  box.type = "search";
  box.placeholder = "filter " + rows.length + " sites by name, words or mark";
  box.oninput = () => {
    const wanted = box.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
  };
  table.parentElement.before(box);
})();
